//! What applications rely on: few kernels, cheap handles, other people's compute passes.

use crate::harness::*;
use wgpu_norm::*;

#[test]
fn handles_are_send_and_sync() {
    fn check<T: Send + Sync + Clone>() {}
    check::<NormEngine>();
    check::<Norm>();
    check::<AdaptiveNorm>();
    check::<SpectralNorm>();
    check::<BoundNorm>();
}

/// Kernels depend on neither shape nor eps: another batch size compiles nothing.
#[test]
fn another_batch_size_needs_no_new_kernel() {
    let gpu = open(&adapter(), wgpu::Limits::default());
    let run = |rows: u64, eps: f32| {
        let shape = [rows, 8, 1000];
        let descriptor =
            NormDescriptor { eps: Epsilon::InsideRoot(eps), ..NormDescriptor::new(NormKind::Batch, &shape) };
        let norm = gpu.engine.create_norm(&descriptor).unwrap();
        let kernels = run_training(&gpu, &norm, &Data::random(&gpu, &descriptor, 0.0, 1)).unwrap().kernels;
        kernels.iter().map(Kernel::to_string).collect::<Vec<_>>()
    };
    let first = run(32, 1e-5);
    let compiled = gpu.engine.compiled_kernels();
    assert!(compiled >= first.len());
    assert_eq!(run(64, 1e-3), first);
    assert_eq!(gpu.engine.compiled_kernels(), compiled);
}

/// Several norms in one pass, the output of one the input of the next, and a binding recorded twice.
#[test]
fn norms_follow_each_other_in_one_pass() {
    let gpu = gpu();
    let shape = [4, 6, 50];
    let none = |kind| NormDescriptor { affine: Affine::None, ..NormDescriptor::new(kind, &shape) };
    let (first, second) = (none(NormKind::Group { groups: 3 }), none(NormKind::Layer { axes: 2..3 }));
    let data = Data::random(gpu, &first, 7.0, 1);
    let [x, y, z] = [&data.input, &vec![POISON; 1200], &vec![POISON; 1200]].map(|d| gpu.buffer(d));
    let bind = |descriptor: &NormDescriptor<'_>, from: &wgpu::Buffer, to: &wgpu::Buffer| {
        let norm = gpu.engine.create_norm(descriptor).unwrap();
        let workspace = norm.create_workspace().unwrap();
        let args = ForwardArgs::new(TensorView::whole(from), TensorView::whole(to));
        norm.bind_forward(&args.workspace(workspace.as_ref().map(BufferView::whole))).unwrap()
    };
    let (a, b) = (bind(&first, &x, &y), bind(&second, &y, &z));
    gpu.run(&[&a, &b, &a, &b]);
    let between: Vec<f32> = data.reference(&first).output.iter().map(|&v| v as f32).collect();
    let expected = Data { input: between, ..Data::default() }.reference(&second).output;
    assert!(error(&gpu.read(&z), &expected).unwrap() < 2e-6);
}
