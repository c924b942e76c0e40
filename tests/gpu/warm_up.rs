//! Kernels compiled ahead, and profiles of other devices.

use wgpu_norm::*;

use crate::harness::{self, Gpu};

const SHAPE: [u64; 2] = [70, 600];

fn open() -> Gpu {
    let adapter = harness::adapter();
    harness::open(&adapter, NormEngine::required_limits(&adapter))
}

/// The kernels of a forward pass by every schedule.
fn kernels(gpu: &Gpu) -> Vec<Kernel> {
    let descriptor =
        NormDescriptor { affine: Affine::None, ..NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &SHAPE) };
    let tensor = || gpu.buffer(&vec![0.0; SHAPE.iter().product::<u64>() as usize]);
    let (x, y) = (tensor(), tensor());
    let bind = |norm: Norm| {
        let workspace = norm.create_workspace().unwrap();
        let args = ForwardArgs::new(TensorView::whole(&x), TensorView::whole(&y));
        norm.bind_forward(&args.workspace(workspace.as_ref().map(BufferView::whole)))
    };
    let schedules = gpu.engine.schedules(&descriptor).unwrap();
    let norms = schedules.iter().filter_map(|s| gpu.engine.create_norm_with(&descriptor, *s).unwrap());
    norms.flat_map(|norm| bind(norm).unwrap().kernels().collect::<Vec<_>>()).collect()
}

#[test]
fn binding_compiles_none_of_what_was_warmed_up() {
    let keys = kernels(harness::gpu());
    let distinct: std::collections::HashSet<_> = keys.iter().collect();
    assert!(distinct.len() > 3 && distinct.len() < keys.len(), "{} of {}", distinct.len(), keys.len());
    let gpu = open();
    assert_eq!(gpu.engine.compiled_kernels(), 0);
    gpu.engine.warm_up(&keys).unwrap();
    assert_eq!(gpu.engine.compiled_kernels(), distinct.len());
    assert_eq!(kernels(&gpu), keys);
    assert_eq!(gpu.engine.compiled_kernels(), distinct.len());
    gpu.engine.warm_up(&[]).unwrap();
}

#[test]
fn a_page_waits_for_its_kernels() {
    let keys = kernels(harness::gpu());
    let distinct = keys.iter().collect::<std::collections::HashSet<_>>().len();
    let gpu = open();
    pollster::block_on(gpu.engine.warm_up_async(&keys)).unwrap();
    assert_eq!(gpu.engine.compiled_kernels(), distinct);
    // in the cache they are those that binding takes
    assert_eq!(kernels(&gpu), keys);
    assert_eq!(gpu.engine.compiled_kernels(), distinct);
    pollster::block_on(gpu.engine.warm_up_async(&keys)).unwrap();
}

#[test]
fn threads_that_need_the_same_kernels_compile_each_once() {
    let keys = kernels(harness::gpu());
    let (gpu, distinct) = (open(), keys.iter().collect::<std::collections::HashSet<_>>().len());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| gpu.engine.warm_up(&keys).unwrap());
        }
    });
    assert_eq!(gpu.engine.compiled_kernels(), distinct);
}

#[test]
fn a_profile_that_the_device_cannot_follow_is_ignored() {
    let gpu = harness::gpu();
    let default = *NormEngine::new(&gpu.device, &NormEngineDescriptor::default()).unwrap().profile();
    let engine = |profile| {
        let descriptor = NormEngineDescriptor { profile: Some(profile), ..NormEngineDescriptor::default() };
        *NormEngine::new(&gpu.device, &descriptor).unwrap().profile()
    };
    let other = DeviceProfile { vectors: 5, max_binding: 1, ..default };
    // what can be bound stays the device's own
    assert_eq!(engine(other), DeviceProfile { max_binding: default.max_binding, ..other });
    for bad in [
        DeviceProfile { workgroup_size: 1 << 20, ..default },
        DeviceProfile { workgroup_size: 0, ..default },
        DeviceProfile { max_lanes: 3, ..default },
        DeviceProfile { subgroup: 1 << 10, ..default },
        DeviceProfile { vectors: 0, ..default },
    ] {
        assert_eq!(engine(bad), default, "{bad:?}");
    }
}
