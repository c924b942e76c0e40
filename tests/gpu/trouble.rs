//! Devices that go, buffers that go, memory that is not there, and many threads: errors, no hang, no panic.

use crate::harness::*;
use wgpu_norm::*;

const SHAPE: [u64; 2] = [64, 1024];

fn layer() -> NormDescriptor<'static> {
    NormDescriptor { affine: Affine::None, ..NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &SHAPE) }
}

/// A device of its own, which may be ruined.
fn ruin() -> Gpu {
    open(&adapter(), wgpu::Limits::default())
}

fn tensor(gpu: &Gpu) -> wgpu::Buffer {
    gpu.buffer(&vec![1.0; (SHAPE[0] * SHAPE[1]) as usize])
}

fn forward<'a>(x: &'a wgpu::Buffer, y: &'a wgpu::Buffer) -> ForwardArgs<&'a wgpu::Buffer> {
    ForwardArgs::new(TensorView::whole(x), TensorView::whole(y))
}

/// What wgpu tells its own handler.
fn told(gpu: &Gpu) -> std::sync::Arc<std::sync::Mutex<Vec<String>>> {
    let all = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = all.clone();
    gpu.device.on_uncaptured_error(std::sync::Arc::new(move |error: wgpu::Error| {
        heard.lock().expect("a list").push(error.to_string());
    }));
    all
}

fn record(gpu: &Gpu, bound: &BoundNorm) -> wgpu::CommandBuffer {
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    bound.record(&mut encoder.begin_compute_pass(&Default::default()));
    encoder.finish()
}

/// Lost before anything, between binding and recording, or with work under way: what the library is asked afterwards is
/// an error.
#[test]
fn a_lost_device_is_an_error_and_no_hang() {
    for when in 0..3 {
        let gpu = ruin();
        let _told = told(&gpu);
        let norm = gpu.engine.create_norm(&layer()).unwrap();
        let (x, y) = (tensor(&gpu), tensor(&gpu));
        let bound = if when > 0 { norm.bind_forward(&forward(&x, &y)).ok() } else { None };
        if let (Some(bound), 2) = (&bound, when) {
            let work = record(&gpu, bound);
            gpu.queue.submit([work]);
        }
        gpu.device.destroy();
        if let (Some(bound), 1) = (&bound, when) {
            let work = record(&gpu, bound);
            gpu.queue.submit([work]);
        }
        let read = read_buffer_blocking(&gpu.device, &gpu.queue, &y, 0..y.size());
        assert!(read.is_err(), "{when}: {read:?}");
        let again = norm.bind_forward(&forward(&x, &y)).map(|bound| bound.dispatch_count());
        assert!(again.is_err(), "{when}: {again:?}");
        let other = NormDescriptor::new(NormKind::Instance, &[2, 3, 4]);
        let other = gpu.engine.create_norm(&other).expect("planning needs no device");
        assert!(other.bind_export(&ExportArgs::new(BufferView::whole(&x)).mean(TensorView::at(&y, 0))).is_err());
        let kernels: Vec<Kernel> = bound.iter().flat_map(BoundNorm::kernels).collect();
        let _ = gpu.engine.warm_up(&kernels);
        drop(gpu);
    }
}

/// A buffer that its owner has destroyed is refused when it is bound or read; one destroyed later is wgpu's affair,
/// which says so when work is submitted, and leaves the device as it was.
#[test]
fn destroyed_buffers_are_errors() {
    let gpu = ruin();
    let told = told(&gpu);
    let norm = gpu.engine.create_norm(&layer()).unwrap();
    let (x, y, z) = (tensor(&gpu), tensor(&gpu), tensor(&gpu));
    let bound = norm.bind_forward(&forward(&x, &y)).unwrap();
    x.destroy();
    assert!(norm.bind_forward(&forward(&x, &z)).is_err());
    let read = read_buffer_blocking(&gpu.device, &gpu.queue, &x, 0..16);
    assert!(read.is_err(), "{read:?}");
    let read = pollster::block_on(read_buffer(&gpu.device, &gpu.queue, &x, 0..16));
    assert!(read.is_err(), "{read:?}");
    assert!(told.lock().unwrap().is_empty(), "what is returned is told to nobody else");
    let work = record(&gpu, &bound);
    gpu.queue.submit([work]);
    assert_eq!(told.lock().unwrap().len(), 1);
    let bound = norm.bind_forward(&forward(&z, &y)).unwrap();
    gpu.run(&[&bound]);
    assert_eq!(gpu.read(&y)[0], 0.0);
}

/// A workspace that the device has no room for: told, not a panic of wgpu's default handler.
#[test]
fn memory_that_is_not_there_is_an_error() {
    let gpu = ruin();
    let huge = [1 << 30, 1 << 12];
    let descriptor = NormDescriptor::new(NormKind::Rms { axes: 1..2 }, &huge);
    let norm = gpu.engine.create_norm(&NormDescriptor { types: Types::all(Element::F16), ..descriptor }).unwrap();
    let size = norm.workspace_size();
    assert!(size > wgpu::Limits::default().max_buffer_size, "{size}");
    let made = norm.create_workspace();
    assert!(matches!(&made, Err(BindError::NoWorkspace { size: of, .. }) if *of == size), "{made:?}");
    let made = norm.create_backward_workspace();
    assert!(made.is_err() || norm.backward_workspace_size() <= wgpu::Limits::default().max_buffer_size, "{made:?}");
    // the device is as it was
    let norm = gpu.engine.create_norm(&layer()).unwrap();
    let (x, y) = (tensor(&gpu), tensor(&gpu));
    gpu.run(&[&norm.bind_forward(&forward(&x, &y)).unwrap()]);
    assert_eq!(gpu.read(&y)[0], 0.0);
}

/// A pass, an encoder or a binding that is dropped in the middle of recording leaves nothing behind.
#[test]
fn what_is_dropped_while_recording_is_gone() {
    let gpu = ruin();
    let told = told(&gpu);
    let norm = gpu.engine.create_norm(&layer()).unwrap();
    let (x, y) = (tensor(&gpu), tensor(&gpu));
    for turn in 0..3 {
        let bound = norm.bind_forward(&forward(&x, &y)).unwrap();
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        bound.record(&mut pass);
        drop(bound);
        drop(pass);
        if turn == 0 {
            drop(encoder);
            continue;
        }
        // with the binding gone, and the engine as well
        let commands = encoder.finish();
        gpu.queue.submit((turn == 2).then_some(commands));
    }
    let result = gpu.read(&y);
    assert!(result.iter().all(|&y| y == 0.0), "the last one has run");
    assert_eq!(told.lock().unwrap().len(), 0);
}

/// Engines on many threads, each with its own norms, on one device and on several.
#[test]
fn many_engines_on_many_threads() {
    let (shared, own) = (ruin(), ruin());
    std::thread::scope(|scope| {
        for thread in 0..6u64 {
            let gpu = if thread % 2 == 0 { &shared } else { &own };
            scope.spawn(move || {
                let engine = NormEngine::new(&gpu.device, &NormEngineDescriptor::default()).unwrap();
                for turn in 0..4 {
                    let shape = [3 + thread, 100 + 7 * turn];
                    let kind = NormKind::Layer { axes: 1..2 };
                    let descriptor = NormDescriptor { affine: Affine::None, ..NormDescriptor::new(kind, &shape) };
                    let norm = engine.create_norm(&descriptor).unwrap();
                    let values: Vec<f32> = (0..norm.len()).map(|k| (k % shape[1]) as f32).collect();
                    let (x, y) = (gpu.buffer(&values), gpu.buffer(&values));
                    let bound = norm.bind_forward(&forward(&x, &y)).unwrap();
                    gpu.run(&[&bound]);
                    let result = gpu.read(&y);
                    let half = (shape[1] - 1) as f32 / 2.0;
                    let deviation = ((shape[1] * shape[1] - 1) as f32 / 12.0).sqrt();
                    let worst = result.iter().zip(&values).map(|(y, x)| (y - (x - half) / deviation).abs());
                    assert!(worst.fold(0.0, f32::max) < 1e-5, "{shape:?}");
                }
            });
        }
    });
}
