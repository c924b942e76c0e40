//! Mistakes: each gets its own typed error, before anything is recorded.

use crate::harness::*;
use wgpu_norm::*;

#[test]
fn descriptors_are_checked() {
    let plan = |d: &NormDescriptor<'_>| gpu().engine.create_norm(d).map(|_| ()).unwrap_err();
    let norm = NormDescriptor::new;
    let layer = |axes| NormKind::Layer { axes };
    let eps = |eps| NormDescriptor { eps, ..norm(layer(1..2), &[2, 3]) };
    let cases = [
        (norm(NormKind::Group { groups: 4 }, &[2, 6, 5]), "4 groups do not divide 6 channels"),
        (norm(NormKind::Group { groups: 0 }, &[2, 6, 5]), "0 groups do not divide 6 channels"),
        (
            norm(NormKind::Group { groups: 1 }, &[2, 6, 0]),
            "group norm over shape [2, 6, 0] has no element in a segment",
        ),
        (norm(NormKind::Batch, &[5]), "batch norm needs a tensor of rank 2 or more, got rank 1"),
        (norm(layer(0..1), &[1; 9]), "rank 9 is more than 8"),
        (
            norm(layer(0..1), &[1 << 40, 1 << 40]),
            "shape [1099511627776, 1099511627776] has more elements than can be addressed",
        ),
        (
            norm(layer(0..1), &[0, u64::MAX, 3]),
            "shape [0, 18446744073709551615, 3] has more elements than can be addressed",
        ),
        (norm(layer(0..1), &[1 << 33]), "shape [8589934592] has more elements than can be addressed"),
        (
            norm(layer(2..3), &[2, 3]),
            "axes [2] of a tensor of rank 2: name one or more, each once, in ascending order, 1 at most",
        ),
        (
            norm(layer(1..1), &[2, 3]),
            "axes [] of a tensor of rank 2: name one or more, each once, in ascending order, 1 at most",
        ),
        (
            norm(NormKind::MeanVariance { axes: &[2, 1] }, &[2, 3, 4]),
            "axes [2, 1] of a tensor of rank 3: name one or more, each once, in ascending order, 2 at most",
        ),
        (
            norm(NormKind::MeanVariance { axes: &[0, 2] }, &[2, 3, 4, 5]),
            "keeping axes [1, 3] of shape [2, 3, 4, 5] interleaves kept and reduced axes too often: at most kept, reduced, kept, reduced from the outermost on; put the axes in the order [1, 3, 0, 2], which works for any set",
        ),
        (eps(Epsilon::InsideRoot(-1e-5)), "eps must be a finite number not below 0, got -0.00001"),
        (eps(Epsilon::Minimum(f32::NAN)), "eps must be a finite number not below 0, got NaN"),
        (eps(Epsilon::AsGiven(f32::INFINITY)), "eps must be a finite number not below 0, got inf"),
        (norm(NormKind::LpNormalize { p: f32::NAN, axes: 0..1 }, &[3]), "p must be a number or infinite, got NaN"),
        (
            NormDescriptor { eps: Epsilon::Machine, ..norm(NormKind::LpNormalize { p: 2.0, axes: 0..1 }, &[3]) },
            "an Lp norm takes eps as a minimum of the norm or added to it, not inside its root (eps 0.00000011920929)",
        ),
        (
            NormDescriptor { affine_axes: AffineAxes::Groups, ..norm(NormKind::Batch, &[2, 3]) },
            "one scale per group needs a group norm, not batch",
        ),
    ];
    let wrong: Vec<_> = cases
        .iter()
        .filter(|(d, m)| plan(d).to_string() != *m)
        .map(|(d, m)| format!("{} instead of {m}", plan(d)))
        .collect();
    all_or_report("descriptors", &wrong, cases.len());
    assert!(matches!(normalized_axes(&[2, 2, 3], &[2, 2]), Err(PlanError::NormalizedShape { .. })));
    assert_eq!(normalized_axes(&[2, 2, 3], &[2, 3]), Ok(1..3));
}

/// A layer norm over 4 x 8 in one buffer of 256 floats: input at 0, output at 64, scale at 128, bias at 192.
fn args(buffer: &wgpu::Buffer) -> ForwardArgs<&wgpu::Buffer> {
    let view = |at: u64, len: u64| TensorView::new(buffer, 4 * at, len);
    ForwardArgs::new(view(0, 32), view(64, 32)).scale(view(128, 8)).bias(view(192, 8))
}

/// The same operands, one of them changed.
fn with<A: Copy>(args: &A, change: impl FnOnce(&mut A)) -> A {
    let mut args = *args;
    change(&mut args);
    args
}

#[test]
fn views_are_checked() {
    let gpu = gpu();
    let norm = gpu.engine.create_norm(&NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &[4, 8])).unwrap();
    let buffer = gpu.buffer(&[POISON; 256]);
    let unusable = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 1024,
        usage: wgpu::BufferUsages::VERTEX,
        mapped_at_creation: false,
    });
    let view = |at: u64, len: u64| TensorView::new(&buffer, 4 * at, len);
    let base = args(&buffer);
    let cases = [
        (with(&base, |a| a.input = view(0, 31)), "input has 31 elements, the norm needs 32"),
        (base.scale(view(128, 4)), "scale has 4 elements, the norm needs 8"),
        (base.bias(view(250, 8)), "bias ends at byte 1032 of a buffer of 1024 bytes"),
        (with(&base, |a| a.input = TensorView::new(&buffer, 2, 32)), "input starts at byte 2, no multiple of 4"),
        (
            with(&base, |a| a.input = TensorView::new(&buffer, u64::MAX - 3, 32)),
            "input ends at byte 18446744073709551615 of a buffer of 1024 bytes",
        ),
        (
            with(&base, |a| a.input = view(0, 32).with_row_stride(7)),
            "input has a row stride of 7 elements, rows have 8",
        ),
        (
            with(&base, |a| a.output = view(31, 32).into()),
            "input and output overlap in one buffer (bytes 124..128); declare in-place work with Destination::InPlace",
        ),
        (
            base.scale(view(90, 8)),
            "output and scale overlap in one buffer (bytes 360..384); declare in-place work with Destination::InPlace",
        ),
        (
            with(&base, |a| a.input = TensorView::new(&unusable, 0, 32)),
            "the buffer of input was made without BufferUsages::STORAGE",
        ),
        (base.scale(None), "scale is missing"),
        (
            base.statistics(StatisticsSource::Given(BufferView::whole(&buffer))),
            "layer norm has no inference from given statistics",
        ),
    ];
    let message = |a: &ForwardArgs<&wgpu::Buffer>| {
        norm.bind_forward(a).map(|_| ()).map_or_else(|e| e.to_string(), |()| "no error".into())
    };
    let wrong: Vec<_> =
        cases.iter().filter(|(a, m)| message(a) != *m).map(|(a, m)| format!("{} instead of {m}", message(a))).collect();
    all_or_report("views", &wrong, cases.len());
    // huge strides overflow no arithmetic
    let huge = with(&base, |a| a.input = view(0, 32).with_row_stride(u64::MAX / 2));
    assert!(matches!(norm.bind_forward(&huge), Err(BindError::OutOfBounds { .. })));
    assert!(norm.bind_forward(&base).is_ok());
    assert_eq!(gpu.read(&buffer), [POISON; 256], "a refused binding wrote something");
}

/// A layer norm over 3 x 5 halves in one buffer of 512 bytes.
#[test]
fn views_of_16_bits_are_checked() {
    let gpu = gpu();
    let types = Types::all(Element::F16).output(Element::Bf16);
    let layer = NormKind::Layer { axes: 1..2 };
    let norm = gpu.engine.create_norm(&NormDescriptor { types, ..NormDescriptor::new(layer, &[3, 5]) }).unwrap();
    let (buffer, statistics) = (gpu.buffer(&[POISON; 128]), gpu.buffer(&[POISON; 12]));
    let (workspace, scratch) = (norm.create_workspace().unwrap(), norm.create_backward_workspace().unwrap());
    let view = |at: u64| TensorView::at(&buffer, at);
    let base = ForwardArgs::new(view(0), view(64)).scale(view(128)).bias(view(160));
    let base = base.workspace(workspace.as_ref().map(BufferView::whole));
    let backward = |grad_input: Destination<_>, grad_scale, grad_bias| {
        let saved = BackwardStatistics::Saved(BufferView::whole(&statistics));
        let args = BackwardArgs::new(view(0), view(192), saved).scale(view(128)).grad_input(grad_input);
        let args = args.grad_scale(view(grad_scale)).grad_bias(view(grad_bias));
        norm.bind_backward(&args.workspace(scratch.as_ref().map(BufferView::whole))).map(drop)
    };
    let forward = |args| norm.bind_forward(&args).map(drop);
    let word = |first, second| {
        format!(
            "{first} and {second} are both written and share the word at byte 284 of one buffer: begin one of them \
             four bytes or more behind the other"
        )
    };
    let cases = [
        (
            forward(with(&base, |a| a.input = TensorView::whole(&buffer))),
            "input is taken for f32, the norm has it as f16 (NormDescriptor::types)".to_owned(),
        ),
        (
            forward(base.scale(view(128).of(Element::Bf16))),
            "scale is taken for bf16, the norm has it as f16 (NormDescriptor::types)".to_owned(),
        ),
        (
            forward(with(&base, |a| a.output = Destination::InPlace)),
            "output is taken for f16, the norm has it as bf16 (NormDescriptor::types)".to_owned(),
        ),
        (forward(with(&base, |a| a.input = view(3))), "input starts at byte 3, no multiple of 2".to_owned()),
        (forward(base.bias(view(504))), "bias ends at byte 514 of a buffer of 512 bytes".to_owned()),
        (backward(view(256).into(), 286, 320), word("grad_input", "grad_scale")),
        (backward(Destination::InPlace, 276, 286), word("grad_scale", "grad_bias")),
    ];
    let message = |result: &Result<(), BindError>| result.clone().err().map_or("no error".into(), |e| e.to_string());
    let wrong: Vec<_> = cases
        .iter()
        .map(|(r, m)| (message(r), m))
        .filter(|(a, m)| a != *m)
        .map(|(a, m)| format!("{a}\ninstead of {m}"))
        .collect();
    all_or_report("views of 16 bits", &wrong, cases.len());
    assert_eq!((forward(base), backward(Destination::InPlace, 256, 268)), (Ok(()), Ok(())));
    assert_eq!(gpu.read(&buffer), [POISON; 128], "a refused binding wrote something");
}

#[test]
fn workspaces_and_statistics_are_checked() {
    let gpu = gpu();
    let norm = gpu
        .engine
        .create_norm(&NormDescriptor { affine: Affine::None, ..NormDescriptor::new(NormKind::Batch, &[4, 8, 3]) })
        .unwrap();
    let buffer = gpu.buffer(&[0.0; 1024]);
    let base = ForwardArgs::new(TensorView::new(&buffer, 0, 96), Destination::InPlace).workspace(BufferView::new(
        &buffer,
        1024,
        norm.workspace_size(),
    ));
    assert!(norm.workspace_size() >= norm.statistics_size() && norm.bind_forward(&base).is_ok());
    let with = |workspace| norm.bind_forward(&base.workspace(workspace)).map(|_| ()).unwrap_err();
    let range = |offset, size| Some(BufferView::new(&buffer, offset, size));
    assert_eq!(with(None), BindError::Missing { operand: Operand::Workspace });
    assert!(matches!(with(range(1024, 16)), BindError::Size { operand: Operand::Workspace, actual: 16, .. }));
    assert!(matches!(
        with(range(1028, 2048)),
        BindError::Offset { operand: Operand::Workspace, offset: 1028, align: 16 }
    ));
    assert!(matches!(with(range(0, 2048)), BindError::Overlap { .. }));
    // records of another number of segments are those of another norm
    let saved = |size| {
        let args = ExportArgs::new(BufferView::new(&buffer, 2048, size)).mean(TensorView::new(&buffer, 0, 8));
        norm.bind_export(&args).map(|_| ())
    };
    assert_eq!(saved(128), Ok(()));
    assert_eq!(saved(144), Err(BindError::Size { operand: Operand::Moments, expected: 128, actual: 144 }));
    let momentum = |momentum| {
        let update = RunningUpdate { momentum, variance: Variance::Unbiased };
        let (mean, variance) = (TensorView::new(&buffer, 512, 8), TensorView::new(&buffer, 768, 8));
        let statistics = BufferView::new(&buffer, 0, 128);
        let args = RunningArgs::new(statistics, mean, variance).update(update);
        norm.bind_running_update(&args).map(|_| ()).unwrap_err()
    };
    assert_eq!(momentum(Momentum::Weight(1.5)), BindError::Momentum { momentum: 1.5 });
    assert!(matches!(momentum(Momentum::AsGiven(f32::NAN)), BindError::Momentum { .. }));
    assert_eq!(momentum(Momentum::Cumulative), BindError::Missing { operand: Operand::Batches });
}

#[test]
fn statistics_of_one_element_and_training_without_eps_are_refused() {
    let gpu = gpu();
    let bind = |kind: NormKind<'static>, shape: &[u64], eps: f32| {
        let descriptor =
            NormDescriptor { affine: Affine::None, eps: Epsilon::InsideRoot(eps), ..NormDescriptor::new(kind, shape) };
        let norm = gpu.engine.create_norm(&descriptor).unwrap();
        run_training(gpu, &norm, &Data::random(gpu, &descriptor, 0.0, 1)).map(|_| ())
    };
    let refused = |kind: &'static str, shape: &[u64]| Err(BindError::SingleElement { kind, shape: shape.to_vec() });
    assert_eq!(bind(NormKind::Batch, &[1, 3], 1e-5), refused("batch", &[1, 3]));
    assert_eq!(bind(NormKind::Instance, &[2, 3, 1], 1e-5), refused("instance", &[2, 3, 1]));
    assert_eq!(bind(NormKind::Group { groups: 3 }, &[1, 3], 1e-5), refused("group", &[1, 3]));
    assert_eq!(bind(NormKind::Group { groups: 3 }, &[2, 3], 1e-5), Ok(()));
    assert_eq!(bind(NormKind::Layer { axes: 1..2 }, &[2, 1], 1e-5), Ok(()));
    assert_eq!(bind(NormKind::Batch, &[2, 3], 0.0), Err(BindError::TrainingEpsilon { eps: 0.0 }));
    assert_eq!(bind(NormKind::Instance, &[2, 3, 4], 0.0), Ok(()));
}

/// The caller's own error scopes and handlers see nothing, and an engine's error is an `Err`.
#[test]
fn the_callers_error_scopes_stay_theirs() {
    let gpu = open(&adapter(), wgpu::Limits::default());
    let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
    let descriptor = NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &[4, 8]);
    let norm = gpu.engine.create_norm(&descriptor).unwrap();
    let data = Data::random(&gpu, &descriptor, 0.0, 1);
    assert!(run_training(&gpu, &norm, &data).is_ok());
    assert!(pollster::block_on(scope.pop()).is_none());
}

/// Empty tensors are bound to nothing, and their means are 0 / 0.
#[test]
fn tensors_without_elements_do_nothing() {
    let gpu = gpu();
    let shapes: [(NormKind<'static>, &[u64]); 6] = [
        (NormKind::Batch, &[0, 3, 4]),
        (NormKind::Batch, &[2, 0, 4]),
        (NormKind::Batch, &[2, 3, 0]),
        (NormKind::Instance, &[2, 3, 0]),
        (NormKind::Layer { axes: 1..2 }, &[3, 0]),
        (NormKind::Layer { axes: 1..2 }, &[0, 3]),
    ];
    for (kind, shape) in shapes {
        let descriptor = NormDescriptor::new(kind, shape);
        let norm = gpu.engine.create_norm(&descriptor).unwrap();
        assert_eq!((norm.len(), norm.workspace_size()), (0, 0));
        let outcome = run_training(gpu, &norm, &Data::random(gpu, &descriptor, 0.0, 1)).unwrap();
        for list in [outcome.mean, outcome.variance] {
            assert!(list.len() as u64 == norm.segment_count() && list.iter().all(|x| x.is_nan()), "{shape:?} {list:?}");
        }
    }
}
