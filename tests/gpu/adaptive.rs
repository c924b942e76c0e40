//! Adaptive instance norm against the f64 reference: forward, backward, its mistakes.

use crate::backward::grad_output;
use crate::halves::*;
use crate::harness::*;
use wgpu_norm::reference::{adaptive, adaptive_backward};
use wgpu_norm::*;
use wgpu_norm_tools::elements::rounded;
use wgpu_norm_tools::tier;

/// Content and style of every shape that fits, both formats and variances.
fn table() -> Vec<AdaptiveDescriptor<'static>> {
    let new = AdaptiveDescriptor::new;
    let mut all = Vec::new();
    for variance in [Variance::Biased, Variance::Unbiased] {
        for style_eps in [StyleEpsilon::AsContent, StyleEpsilon::None] {
            let last = AdaptiveDescriptor { format: MemoryFormat::ChannelsLast, ..new(&[2, 7, 5, 3], &[2, 4, 5, 3]) };
            for d in [
                new(&[2, 3, 5, 7], &[2, 3, 11, 2]),
                new(&[2, 3, 35], &[1, 3, 4]),
                new(&[3, 2, 2048], &[3, 2, 333]),
                last,
            ] {
                all.push(AdaptiveDescriptor { variance, style_eps, ..d });
            }
        }
    }
    let mixed = Types::all(Element::F16).output(Element::F32).grad_output(Element::Bf16);
    let types = [Types::all(Element::Bf16), Types::all(Element::F16), Types::tensors(Element::F16), mixed];
    let odd = [
        new(&[2, 3, 5, 7], &[2, 3, 11, 1]),
        new(&[3, 5, 9], &[1, 5, 7]),
        new(&[3, 2, 2048], &[3, 2, 333]),
        AdaptiveDescriptor { format: MemoryFormat::ChannelsLast, ..new(&[2, 7, 5, 3], &[2, 9, 1, 3]) },
    ];
    all.extend(odd.into_iter().zip(types).map(|(d, types)| AdaptiveDescriptor { types, ..d }));
    all
}

struct Case {
    content: Vec<f32>,
    style: Vec<f32>,
    grad_output: Vec<f32>,
}

impl Case {
    fn random(d: &AdaptiveDescriptor<'_>, mean: f32, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let content = rounded(&values(&mut rng, d.shape.iter().product(), mean, 1.0), d.types.input);
        let style = rounded(&values(&mut rng, d.style_shape.iter().product(), 3.0, 2.0), d.types.input);
        let grad_output = rounded(&grad_output(content.len(), seed), d.types.grad_output);
        Self { content, style, grad_output }
    }
}

/// Output, gradient to the content, gradient to the style; those that are not wanted are ones, as they were.
fn run(norm: &AdaptiveNorm, case: &Case, wanted: [bool; 2]) -> Result<[Vec<f32>; 3], BindError> {
    let (gpu, types) = (gpu(), norm.content().types());
    let (n, m) = (case.content.len(), case.style.len());
    let [content, style] = [&case.content, &case.style].map(|values| Lone::new(gpu, types.input, values));
    let dy = Lone::new(gpu, types.grad_output, &case.grad_output);
    let [output, grad_content, grad_style] = [(types.output, n), (types.grad_input, n), (types.grad_input, m)]
        .map(|(element, len)| Lone::empty(gpu, element, len));
    let saved = gpu.buffer(&vec![POISON; norm.statistics_size().max(16) as usize / 4]);
    let saved = BufferView::new(&saved, 0, norm.statistics_size());
    let (forward, backward) = (norm.create_workspace().unwrap(), norm.create_backward_workspace().unwrap());
    let args = AdaptiveArgs::new(content.view(), style.view(), output.view())
        .saved(saved)
        .workspace(forward.as_ref().map(BufferView::whole));
    let forward = norm.bind_forward(&args)?;
    let mut args = AdaptiveBackwardArgs::new(content.view(), style.view(), dy.view(), saved)
        .grad_style(wanted[1].then(|| grad_style.view()))
        .workspace(backward.as_ref().map(BufferView::whole));
    args.grad_input = wanted[0].then(|| grad_content.view().into());
    let backward = norm.bind_backward(&args)?;
    gpu.run(&[&forward, &backward]);
    Ok([&output, &grad_content, &grad_style].map(|tensor| tensor.read(gpu)))
}

#[test]
fn adaptive_norms_match_the_reference_forward_and_backward() {
    let (mut failures, mut cases) = (Vec::new(), 0);
    for (seed, d) in tier::some(table().iter().enumerate()) {
        let norm = gpu().engine.create_adaptive_norm(d).unwrap();
        let means = if d.types == Types::default() { [0.0, 1e3] } else { [0.0, 4.0] };
        for mean in means {
            let case = Case::random(d, mean, seed as u64);
            let expected = adaptive(d, &case.content, &case.style).unwrap().output;
            let (content, style) = adaptive_backward(d, &case.content, &case.style, &case.grad_output).unwrap();
            for wanted in [[true, true], [true, false], [false, true]] {
                cases += 1;
                let [output, to_content, to_style] = run(&norm, &case, wanted).unwrap();
                let mut check = |what: &str, element, actual: &[f32], expected: &[f64], wanted: bool| {
                    let unwritten = || actual.iter().all(|&x| x == 1.0).then_some(()).ok_or("written".to_owned());
                    let close = if wanted { is_close(actual, expected, element, 3e-6) } else { unwritten() };
                    failures.extend(close.err().map(|e| format!("{d:?} mean {mean} {wanted:?}: {what} {e}")));
                };
                check("output", d.types.output, &output, &expected, true);
                check("gradient to the content", d.types.grad_input, &to_content, &content, wanted[0]);
                check("gradient to the style", d.types.grad_input, &to_style, &style, wanted[1]);
            }
        }
    }
    all_or_report("adaptive norms", &failures, cases);
}

/// A style for no sample has a gradient, of nothing; tensors without an element do nothing.
#[test]
fn a_style_without_content_has_a_gradient_of_zero() {
    let d = AdaptiveDescriptor::new(&[0, 3, 5], &[1, 3, 4]);
    let norm = gpu().engine.create_adaptive_norm(&d).unwrap();
    let [output, content, style] = run(&norm, &Case::random(&d, 0.0, 1), [true, true]).unwrap();
    assert_eq!((output, content, style), (vec![], vec![], vec![0.0; 12]));
}

/// The derivative of a deviation of 0 is taken for 0, with whatever eps.
#[test]
fn a_constant_style_has_the_gradient_of_its_mean() {
    let new = AdaptiveDescriptor { style_eps: StyleEpsilon::None, ..AdaptiveDescriptor::new(&[1, 1, 4], &[1, 1, 5]) };
    let as_content = |eps| AdaptiveDescriptor { eps, style_eps: StyleEpsilon::AsContent, ..new };
    let case = Case { content: vec![1.0, 2.0, 4.0, 7.0], style: vec![3.0; 5], grad_output: vec![1.0, -2.0, 0.5, 3.0] };
    for d in [new, as_content(Epsilon::AddedToDeviation(1e-3)), as_content(Epsilon::InsideRoot(1e-5))] {
        let norm = gpu().engine.create_adaptive_norm(&d).unwrap();
        let [_, _, style] = run(&norm, &case, [true, true]).unwrap();
        assert!(is_close(&style, &[0.5; 5], Element::F32, 1e-6).is_ok(), "{d:?}: {style:?}");
    }
}

#[test]
fn content_is_normalized_in_place() {
    let gpu = gpu();
    let d = AdaptiveDescriptor::new(&[2, 3, 35], &[2, 3, 8]);
    let norm = gpu.engine.create_adaptive_norm(&d).unwrap();
    let case = Case::random(&d, 5.0, 7);
    let (content, style) = (gpu.guarded(&case.content), gpu.guarded(&case.style));
    let workspace = norm.create_workspace().unwrap();
    let (content_view, style_view) = (guarded_view(&content, 210), guarded_view(&style, 48));
    let args = AdaptiveArgs::new(content_view, style_view, Destination::InPlace);
    gpu.run(&[&norm.bind_forward(&args.workspace(workspace.as_ref().map(BufferView::whole))).unwrap()]);
    let expected = adaptive(&d, &case.content, &case.style).unwrap().output;
    let worst = error(&gpu.read_guarded(&content), &expected);
    assert!(worst.as_ref().is_ok_and(|&e| e < 2e-6), "{worst:?}");
}

#[test]
fn adaptive_mistakes_are_typed() {
    let plan = |shape, style| gpu().engine.create_adaptive_norm(&AdaptiveDescriptor::new(shape, style)).map(drop);
    let refused = plan(&[2, 3, 5], &[3, 3, 5]).unwrap_err().to_string();
    assert_eq!(
        refused,
        "style shape [3, 3, 5] does not fit content shape [2, 3, 5] (ChannelsFirst): rank and channels must agree, the batch agree or be 1"
    );
    assert!(matches!(plan(&[2, 3, 5], &[2, 4, 5]), Err(PlanError::StyleShape { .. })));
    assert!(matches!(plan(&[2, 3, 5], &[2, 3, 0]), Err(PlanError::EmptySegments { kind: "adain", .. })));
    assert!(matches!(plan(&[3], &[3]), Err(PlanError::RankTooLow { kind: "adain", rank: 1, .. })));
    // a variance of one element divides by zero where it is unbiased
    let single = |variance| {
        let d = AdaptiveDescriptor { variance, ..AdaptiveDescriptor::new(&[2, 3, 4], &[2, 3, 1]) };
        let norm = gpu().engine.create_adaptive_norm(&d).unwrap();
        run(&norm, &Case::random(&d, 0.0, 1), [true, true]).map(drop)
    };
    assert_eq!(single(Variance::Unbiased), Err(BindError::SingleElement { kind: "adain", shape: vec![2, 3, 4] }));
    assert_eq!(single(Variance::Biased), Ok(()));
    let d = AdaptiveDescriptor::new(&[2, 3, 35], &[2, 3, 8]);
    let norm = gpu().engine.create_adaptive_norm(&d).unwrap();
    let buffer = gpu().buffer(&vec![0.0; 1024 + norm.workspace_size() as usize / 4]);
    let workspace = BufferView::new(&buffer, 4096, norm.workspace_size());
    let view = |at: u64, len: u64| TensorView::new(&buffer, 4 * at, len);
    let bind = |style| {
        norm.bind_forward(&AdaptiveArgs::new(view(0, 210), style, Destination::InPlace).workspace(workspace)).map(drop)
    };
    assert_eq!(bind(view(256, 48)), Ok(()));
    assert_eq!(bind(view(256, 47)), Err(BindError::Length { operand: Operand::Style, expected: 48, actual: 47 }));
    assert!(matches!(bind(view(200, 48)), Err(BindError::Overlap { second: Operand::Style, .. })));
    let without = norm.bind_forward(&AdaptiveArgs::new(view(0, 210), view(256, 48), Destination::InPlace)).map(drop);
    assert_eq!(without, Err(BindError::Missing { operand: Operand::Workspace }));
    let saved = BufferView::new(&buffer, 0, norm.statistics_size());
    let nothing = AdaptiveBackwardArgs::new(view(256, 210), view(512, 48), view(768, 210), saved);
    assert_eq!(norm.bind_backward(&nothing).map(drop), Err(BindError::NothingWanted { operation: "backward" }));
}
