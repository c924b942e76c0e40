//! Mistakes in what stands around a norm: each gets its own typed error, before anything is recorded.

use crate::harness::*;
use wgpu_norm::*;

const ALL: &[usize] = &[0, 1, 2];
/// Elements of a tensor, and of a row of it.
const TENSOR: (u64, u64) = (48, 8);
/// Bytes of each operand's part of the buffer.
const PART: u64 = 1024;

type View<'a> = TensorView<&'a wgpu::Buffer>;
type Fused<'a> = FusedArgs<&'a wgpu::Buffer>;
type Gradients<'a> = FusedGradients<&'a wgpu::Buffer>;
/// Where an operand is in arguments, its elements, and those of a row.
type Field<'a> = (Operand, for<'b> fn(&'b mut Fused<'a>) -> &'b mut Option<View<'a>>, (u64, u64));
type GradientField<'a> = (Operand, for<'b> fn(&'b mut Gradients<'a>) -> &'b mut Option<View<'a>>, u64);

fn descriptor(fusion: Fusion<'static>) -> NormDescriptor<'static> {
    NormDescriptor { fusion, ..NormDescriptor::new(NormKind::Layer { axes: 2..3 }, &[2, 3, 8]) }
}

/// A norm that has everything at once.
fn everything() -> Fusion<'static> {
    let prologue = Prologue::residual(ALL).multiplier(Multiplier::Gate(&[2])).bias(&[0, 2]);
    let epilogue = Epilogue::activation(Activation::Silu).gate(Activation::Silu).addend().out_gate(&[1, 2]);
    Fusion::default().prologue(prologue).modulation(Modulation::new(&[0, 2])).epilogue(epilogue.out_residual())
}

/// What the forward pass takes.
fn fields<'a>() -> [Field<'a>; 9] {
    [
        (Operand::Gate, |f| &mut f.gate, (8, 8)),
        (Operand::Z, |f| &mut f.z, TENSOR),
        (Operand::Addend, |f| &mut f.addend, TENSOR),
        (Operand::ModulationScale, |f| &mut f.modulation_scale, (16, 8)),
        (Operand::ModulationShift, |f| &mut f.modulation_shift, (16, 8)),
        (Operand::OutGate, |f| &mut f.out_gate, (24, 8)),
        (Operand::Residual, |f| &mut f.residual, TENSOR),
        (Operand::PrologueBias, |f| &mut f.prologue_bias, (16, 8)),
        (Operand::OutResidual, |f| &mut f.out_residual, TENSOR),
    ]
}

fn gradient_fields<'a>() -> [GradientField<'a>; 8] {
    [
        (Operand::GradResidual, |g| &mut g.residual, 48),
        (Operand::GradGate, |g| &mut g.gate, 8),
        (Operand::GradZ, |g| &mut g.z, 48),
        (Operand::GradPrologueBias, |g| &mut g.prologue_bias, 16),
        (Operand::GradModulationScale, |g| &mut g.modulation_scale, 16),
        (Operand::GradModulationShift, |g| &mut g.modulation_shift, 16),
        (Operand::GradAddend, |g| &mut g.addend, 48),
        (Operand::GradOutGate, |g| &mut g.out_gate, 24),
    ]
}

/// One buffer, of which each operand has a part.
struct Bench {
    buffer: wgpu::Buffer,
    workspace: wgpu::Buffer,
}

impl Bench {
    fn new(gpu: &Gpu, norm: &Norm) -> Self {
        let size = norm.workspace_size().max(norm.backward_workspace_size()).max(16);
        Self { buffer: gpu.bytes(&vec![0; 40 * PART as usize]), workspace: gpu.bytes(&vec![0; size as usize]) }
    }

    fn view(&self, part: u64, len: u64) -> View<'_> {
        TensorView::new(&self.buffer, part * PART, len)
    }

    /// What all passes take (the first six), and what only the way forward takes.
    fn fused(&self, count: usize) -> Fused<'_> {
        let mut fused = FusedArgs::default();
        for (k, (_, field, (len, _))) in fields().into_iter().enumerate().take(count) {
            *field(&mut fused) = Some(self.view(10 + k as u64, len));
        }
        fused
    }

    fn forward(&self) -> ForwardArgs<&wgpu::Buffer> {
        ForwardArgs::new(self.view(0, 48), self.view(1, 48))
            .scale(self.view(2, 8))
            .bias(self.view(3, 8))
            .fused(self.fused(9).sum(self.view(4, 48)))
            .workspace(BufferView::whole(&self.workspace))
    }

    fn backward(&self) -> BackwardArgs<&wgpu::Buffer> {
        let statistics = BackwardStatistics::Saved(BufferView::new(&self.buffer, 6 * PART, 96));
        let mut gradients = FusedGradients::default();
        for (k, (_, field, len)) in gradient_fields().into_iter().enumerate() {
            *field(&mut gradients) = Some(self.view(20 + k as u64, len));
        }
        BackwardArgs::new(self.view(0, 48), self.view(1, 48), statistics)
            .scale(self.view(2, 8))
            .bias(self.view(3, 8))
            .grad_input(self.view(5, 48))
            .grad_scale(self.view(7, 8))
            .grad_bias(self.view(8, 8))
            .fused(self.fused(6).multiplied(self.view(9, 48)))
            .fused_gradients(gradients)
            .workspace(BufferView::whole(&self.workspace))
    }
}

/// Mistakes that were made, and what each should be told.
#[derive(Default)]
struct Report {
    wrong: Vec<String>,
    cases: usize,
}

impl Report {
    fn expect(&mut self, what: &str, actual: Result<BoundNorm, BindError>, expected: BindError) {
        self.cases += 1;
        let actual = actual.map(drop);
        if actual != Err(expected.clone()) {
            self.wrong.push(format!("{what}: {actual:?}, expected {expected:?}"));
        }
    }
}

#[test]
fn views_of_what_is_fused_are_checked_forward() {
    let gpu = gpu();
    let norm = gpu.engine.create_norm(&descriptor(everything())).unwrap();
    let bench = Bench::new(gpu, &norm);
    let args = bench.forward();
    assert_eq!(norm.bind_forward(&args).map(drop), Ok(()));
    let mut report = Report::default();
    for (operand, field, (len, row)) in fields() {
        let mut expect = |what: &str, view, expected| {
            let mut fused = args.fused;
            *field(&mut fused) = view;
            report.expect(&format!("{operand} {what}"), norm.bind_forward(&args.fused(fused)), expected);
        };
        expect("missing", None, BindError::Missing { operand });
        let length = BindError::Length { operand, expected: len, actual: len - 1 };
        expect("short", Some(bench.view(30, len - 1)), length);
        let stride = BindError::RowStride { operand, stride: row - 1, row };
        expect("dense rows", Some(bench.view(30, len).with_row_stride(row - 1)), stride);
        let offset = BindError::Offset { operand, offset: 30 * PART + 2, align: 4 };
        expect("inside a word", Some(TensorView::new(&bench.buffer, 30 * PART + 2, len)), offset);
        let (first, second) = (Operand::Output, operand);
        let overlap = BindError::Overlap { first, second, start: PART, end: PART + 4 * len };
        expect("where the output goes", Some(bench.view(1, len)), overlap);
    }
    let mut fused = args.fused;
    fused.sum = Some(bench.view(1, 48));
    let (start, end) = (PART, PART + 192);
    let overlap = BindError::Overlap { first: Operand::Output, second: Operand::Sum, start, end };
    report.expect("sum over the output", norm.bind_forward(&args.fused(fused)), overlap);
    fused = args.fused.multiplied(bench.view(9, 48));
    let unexpected = BindError::Unexpected { operand: Operand::Multiplied };
    report.expect("the input of a sum", norm.bind_forward(&args.fused(fused)), unexpected);
    let missing = BindError::Missing { operand: Operand::Workspace };
    if norm.workspace_size() > 0 {
        report.expect("no workspace", norm.bind_forward(&args.workspace(None)), missing);
    }
    all_or_report("views of what is fused", &report.wrong, report.cases);
}

#[test]
fn views_of_what_is_fused_are_checked_backward() {
    let gpu = gpu();
    let norm = gpu.engine.create_norm(&descriptor(everything())).unwrap();
    let bench = Bench::new(gpu, &norm);
    let args = bench.backward();
    assert_eq!(norm.bind_backward(&args).map(drop), Ok(()));
    let mut report = Report::default();
    for (k, (operand, field, (len, _))) in fields().into_iter().enumerate() {
        let (mut without, mut given) = (args.fused, args.fused);
        *field(&mut without) = None;
        *field(&mut given) = Some(bench.view(30, len));
        if k < 6 {
            report.expect("missing", norm.bind_backward(&args.fused(without)), BindError::Missing { operand });
        } else {
            report.expect("unneeded", norm.bind_backward(&args.fused(given)), BindError::Unexpected { operand });
        }
    }
    for (operand, field, len) in gradient_fields() {
        let mut gradients = args.fused_gradients;
        *field(&mut gradients) = Some(bench.view(30, len + 1));
        let length = BindError::Length { operand, expected: len, actual: len + 1 };
        report.expect("long", norm.bind_backward(&args.fused_gradients(gradients)), length);
        *field(&mut gradients) = Some(bench.view(1, len));
        let bound = norm.bind_backward(&args.fused_gradients(gradients)).map(drop);
        assert!(matches!(bound, Err(BindError::Overlap { .. })), "{operand} over grad_output: {bound:?}");
    }
    for (operand, args) in [
        (Operand::Scale, args.scale(None)),
        (Operand::Bias, args.bias(None)),
        (Operand::Multiplied, args.fused(args.fused.multiplied(None))),
        (Operand::Workspace, args.workspace(None)),
    ] {
        report.expect("missing", norm.bind_backward(&args), BindError::Missing { operand });
    }
    let mut none = args.fused_gradients(FusedGradients::default()).grad_scale(None).grad_bias(None);
    none.grad_input = None;
    let nothing = BindError::NothingWanted { operation: "backward" };
    report.expect("nothing", norm.bind_backward(&none), nothing);
    all_or_report("views of what is fused", &report.wrong, report.cases);
}

/// A norm takes what its fusion names and nothing else.
#[test]
fn what_a_fusion_does_not_name_is_refused() {
    let gpu = gpu();
    let mut report = Report::default();
    // nothing at all, and something else
    for fusion in [Fusion::default(), Fusion::default().epilogue(Epilogue::default().factor(2.0))] {
        let norm = gpu.engine.create_norm(&descriptor(fusion)).unwrap();
        let bench = Bench::new(gpu, &norm);
        let forward = bench.forward().fused(FusedArgs::default());
        let backward = bench.backward().fused(FusedArgs::default()).fused_gradients(FusedGradients::default());
        let (bias, plain) = (backward.bias, fusion == Fusion::default());
        let backward = backward.bias(bias.filter(|_| !plain));
        assert_eq!(norm.bind_forward(&forward).map(drop), Ok(()));
        assert_eq!(norm.bind_backward(&backward).map(drop), Ok(()));
        for (operand, field, (len, _)) in fields() {
            let mut fused = FusedArgs::default();
            *field(&mut fused) = Some(bench.view(30, len));
            let unexpected = BindError::Unexpected { operand };
            report.expect("forward", norm.bind_forward(&forward.fused(fused)), unexpected.clone());
            report.expect("backward", norm.bind_backward(&backward.fused(fused)), unexpected);
        }
        for (operand, field, len) in gradient_fields() {
            let mut gradients = FusedGradients::default();
            *field(&mut gradients) = Some(bench.view(30, len));
            let bound = norm.bind_backward(&backward.fused_gradients(gradients));
            report.expect("a gradient", bound, BindError::Unexpected { operand });
        }
        for (operand, fused) in [
            (Operand::Sum, FusedArgs::default().sum(bench.view(30, 48))),
            (Operand::Multiplied, FusedArgs::default().multiplied(bench.view(30, 48))),
        ] {
            let unexpected = BindError::Unexpected { operand };
            report.expect("forward", norm.bind_forward(&forward.fused(fused)), unexpected.clone());
            report.expect("backward", norm.bind_backward(&backward.fused(fused)), unexpected);
        }
    }
    all_or_report("unexpected operands", &report.wrong, report.cases);
}

#[test]
fn fusions_are_checked() {
    let gpu = gpu();
    let plan = |d: &NormDescriptor<'_>| gpu.engine.create_norm(d).map(drop);
    let after = |epilogue| Fusion::default().epilogue(epilogue);
    let before = |prologue| Fusion::default().prologue(prologue);
    let multiplied = |activation| Prologue::default().multiplier(Multiplier::Activation(activation));
    let leaky = |slope| Activation::LeakyRelu { slope };
    let two = before(multiplied(Activation::Silu)).epilogue(Epilogue::default().gate(Activation::Silu));
    assert_eq!(plan(&descriptor(two)), Err(PlanError::TwoGates));
    let unrelated = |first: &[usize], second: &[usize]| {
        Err(PlanError::Unrelated { first: first.to_vec(), second: second.to_vec() })
    };
    let modulation = |axes| descriptor(Fusion::default().modulation(Modulation::new(axes)));
    assert_eq!(plan(&modulation(&[0])), unrelated(&[2], &[0]));
    assert_eq!(plan(&modulation(&[0, 2])), Ok(()));
    // axes are the tensor's where groups are split off its channels, too
    let group = |shape| NormDescriptor { shape, kind: NormKind::Group { groups: 3 }, ..modulation(&[2]) };
    assert_eq!(plan(&group(&[2, 6, 5])), unrelated(&[1], &[2]));
    // along an axis of size 1 nothing varies
    assert_eq!(plan(&group(&[2, 6, 1])), Ok(()));
    assert_eq!(plan(&modulation(&[])), Ok(()));
    // without parameters of its own a norm is coarser than any modulation
    assert_eq!(plan(&NormDescriptor { affine: Affine::None, ..modulation(&[0]) }), Ok(()));
    assert_eq!(plan(&descriptor(before(Prologue::residual(&[1]).bias(&[2])))), unrelated(&[2], &[1]));
    assert_eq!(plan(&descriptor(before(Prologue::residual(ALL).bias(&[2])))), Ok(()));
    let one_plus = |affine| NormDescriptor { affine, ..descriptor(Fusion::default().one_plus_scale()) };
    assert_eq!(plan(&one_plus(Affine::Bias)), Err(PlanError::NoScale));
    assert_eq!(plan(&one_plus(Affine::Scale)), Ok(()));
    for number in [f32::INFINITY, f32::NEG_INFINITY] {
        let refused = Err(PlanError::NotFinite { number });
        assert_eq!(plan(&descriptor(after(Epilogue::default().factor(number)))), refused);
        assert_eq!(plan(&descriptor(after(Epilogue::activation(leaky(number))))), refused);
        assert_eq!(plan(&descriptor(after(Epilogue::default().gate(leaky(number))))), refused);
        assert_eq!(plan(&descriptor(before(multiplied(leaky(number))))), refused);
    }
    let nan = plan(&descriptor(after(Epilogue::default().factor(f32::NAN))));
    assert!(matches!(nan, Err(PlanError::NotFinite { .. })), "{nan:?}");
    for axes in [&[3][..], &[1, 0], &[1, 1]] {
        let refused = Err(PlanError::AxesOutOfRange { axes: axes.to_vec(), rank: 3 });
        let all = [
            before(Prologue::residual(axes)),
            before(Prologue::default().bias(axes)),
            before(Prologue::default().multiplier(Multiplier::Gate(axes))),
            after(Epilogue::default().out_gate(axes)),
            Fusion::default().modulation(Modulation::new(axes)),
        ];
        for fusion in all {
            let d = NormDescriptor { fusion, ..NormDescriptor::new(NormKind::Layer { axes: 2..3 }, &[2, 3, 8]) };
            assert_eq!(plan(&d), refused, "{fusion:?}");
        }
    }
}
