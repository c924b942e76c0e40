//! Tensors of 16 bits: conversions of every value, and every norm in arenas of mixed types with guards on both sides.

use std::sync::OnceLock;

use crate::forward::table;
use crate::halves::*;
use crate::harness::*;
use wgpu_norm::reference::{self, ReferenceInputs};
use wgpu_norm::*;
use wgpu_norm_tools::elements::{decode, encode, round, rounded};
use wgpu_norm_tools::tier;

/// Whether a number is a subnormal f32, which devices may take for 0.
fn is_flushed(x: f32, y: f32) -> bool {
    x.is_subnormal() && y == 0.0
}

/// Equal, or both NaN.
fn is_same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

/// Whether WGSL's own conversions of f16 are said to be exact.
fn has_f16_builtins(gpu: &Gpu) -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let exact = converts_f16_exactly(&gpu.device, &gpu.queue).unwrap();
        println!("WGSL's own conversions of f16 are {}exact here", if exact { "" } else { "not " });
        exact
    })
}

/// An engine that converts f16 by them, or by integers.
fn engine(gpu: &Gpu, f16_builtins: bool) -> NormEngine {
    gpu.engine.with_profile(DeviceProfile { f16_builtins, ..*gpu.engine.profile() }).unwrap()
}

/// Each type, and an engine for each way to convert it.
fn conversions(gpu: &Gpu) -> Vec<(Element, NormEngine)> {
    let mut all = HALVES.map(|element| (element, engine(gpu, false))).to_vec();
    all.extend(has_f16_builtins(gpu).then(|| (Element::F16, engine(gpu, true))));
    all
}

fn channels(engine: &NormEngine, count: u64) -> Norm {
    engine.create_norm(&NormDescriptor::new(NormKind::Batch, &[2, count])).unwrap()
}

#[test]
fn every_half_is_read_exactly() {
    let gpu = gpu();
    for (element, engine) in conversions(gpu) {
        let norm = channels(&engine, 1 << 16);
        let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let (list, records) = (gpu.bytes(&all), gpu.buffer(&vec![POISON; 4 << 16]));
        let view = TensorView::whole_of(&list, element);
        let import = norm.bind_import(&ImportArgs::new(view, view, BufferView::whole(&records))).unwrap();
        gpu.run(&[&import]);
        let records = gpu.read(&records);
        for half in 0..=u16::MAX {
            let (actual, expected) = (records[4 * usize::from(half)], number(element, half));
            let same = is_same(actual, expected) || is_flushed(expected, actual);
            assert!(same, "{element} {half:#06x}: {actual:e}, expected {expected:e}");
        }
    }
}

/// All halves, what lies in the middle between neighbours, and that number's own neighbours.
fn hard_numbers(element: Element) -> Vec<f32> {
    let between = |code: u16| {
        let (a, b) = (number(element, code), number(element, code + 1));
        let middle = ((f64::from(a) + f64::from(b)) / 2.0) as f32;
        [a, middle, middle.next_up(), middle.next_down()]
    };
    let finite = (0..0x7c00u16).flat_map(between);
    let finite = finite.chain(if element == Element::Bf16 { 0x7c00..0x7f7f } else { 0..0 }.flat_map(between));
    let largest = number(element, if element == Element::F16 { 0x7bff } else { 0x7f7f });
    let beyond = [largest, 65519.99, 65520.0, 3.4e38, f32::MAX, f32::INFINITY, f32::NAN, 1e-45, 2.0f32.powi(-25)];
    // what rounding must not take for an infinity, or carry into the sign
    let nans = [0x7f80_0001, 0x7fff_ffff].map(f32::from_bits);
    let all = finite.chain(beyond).chain(nans).filter(|x| x.is_nan() || x.abs() <= f32::INFINITY);
    all.flat_map(|x| [x, -x]).collect()
}

#[test]
fn every_number_is_rounded_to_the_nearest_half() {
    let gpu = gpu();
    for (element, engine) in conversions(gpu) {
        let numbers = hard_numbers(element);
        let norm = channels(&engine, numbers.len() as u64);
        // the mean of a record is the sum of its first two numbers; -0 + -0 is -0
        let records: Vec<f32> = numbers.iter().flat_map(|&x| [x, -0.0, 0.0, 1.0]).collect();
        let records = gpu.buffer(&records);
        let rounded = gpu.bytes(&vec![0xab; 2 * numbers.len()]);
        let export = ExportArgs::new(BufferView::whole(&records)).mean(TensorView::whole_of(&rounded, element));
        gpu.run(&[&norm.bind_export(&export).unwrap()]);
        let bytes = read_buffer_blocking(&gpu.device, &gpu.queue, &rounded, 0..rounded.size()).unwrap();
        for (&x, actual) in numbers.iter().zip(decode(&bytes, element)) {
            let expected = round(x.into(), element) as f32;
            let flushed = (x.is_subnormal() || expected.is_subnormal() && element == Element::Bf16) && actual == 0.0;
            assert!(is_same(actual, expected) || flushed, "{element} {x:e}: {actual:e}, expected {expected:e}");
        }
    }
}

/// Numbers of one type as vectors of another: the sum that a norm keeps of a tensor and -0.
fn converted(gpu: &Gpu, engine: &NormEngine, numbers: &[f32], [from, to]: [Element; 2]) -> Vec<f32> {
    let shape = [numbers.len() as u64 / 64, 64];
    let norm = engine.create_norm(&NormDescriptor {
        types: Types::default().input(from),
        affine: Affine::None,
        fusion: Fusion::default().prologue(Prologue::residual(&ALL_AXES[..2])),
        ..NormDescriptor::new(NormKind::Rms { axes: 1..2 }, &shape)
    });
    let (x, zeros) = (gpu.bytes(&encode(numbers, from)), gpu.buffer(&vec![-0.0; numbers.len()]));
    let [y, sum] = [Element::F32, to].map(|element| gpu.bytes(&vec![0; numbers.len() * element.bytes() as usize]));
    let fused =
        FusedArgs::default().residual(TensorView::whole_of(&zeros, Element::F32)).sum(TensorView::whole_of(&sum, to));
    let args = ForwardArgs::new(TensorView::whole_of(&x, from), TensorView::whole(&y)).fused(fused);
    gpu.run(&[&norm.unwrap().bind_forward(&args).unwrap()]);
    decode(&read_buffer_blocking(&gpu.device, &gpu.queue, &sum, 0..sum.size()).unwrap(), to)
}

#[test]
fn both_halves_of_words_are_converted_exactly() {
    let gpu = gpu();
    for (element, engine) in conversions(gpu) {
        let all: Vec<f32> = (0..=u16::MAX).map(|code| number(element, code)).collect();
        for (numbers, ways) in [(all, [element, Element::F32]), (hard_numbers(element), [Element::F32, element])] {
            for before in 0..2 {
                let mut numbers = [&[1.0][..before], &numbers].concat();
                numbers.resize(numbers.len().next_multiple_of(64), 1.0);
                for (&x, actual) in numbers.iter().zip(converted(gpu, &engine, &numbers, ways)) {
                    let expected = round(x.into(), ways[1]) as f32;
                    // of f16 nothing but numbers below its subnormals
                    let flushed = (x.is_subnormal() || expected.is_subnormal()) && actual == 0.0;
                    let same = is_same(actual, expected) || flushed;
                    assert!(same, "{ways:?} {before} {x:e}: {actual:e}, expected {expected:e}");
                }
            }
        }
    }
}

/// How a case departs from the plain one.
#[derive(Debug)]
struct Way {
    /// Which of the schedules, forward and backward; 0: the chosen one.
    picks: [usize; 2],
    /// Elements behind each row of input, output, grad_output and grad_input.
    pads: [usize; 4],
    in_place: bool,
    f16_builtins: bool,
}

impl Way {
    fn of(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed + 2);
        let picks = [(); 2].map(|()| if rng.bool() { 0 } else { rng.usize(..32) });
        let padded = rng.u8(..3) == 0;
        let pads = [(); 4].map(|()| if padded { rng.usize(..6) } else { 0 });
        Self { picks, pads, in_place: rng.u8(..4) == 0, f16_builtins: rng.bool() }
    }

    /// The norm by its schedules.
    fn norm(&self, gpu: &Gpu, descriptor: &NormDescriptor<'_>) -> Result<Norm, PlanError> {
        let engine = engine(gpu, self.f16_builtins && has_f16_builtins(gpu));
        let all = engine.schedules(descriptor)?;
        let norm = engine.create_norm_with(descriptor, all[self.picks[0] % all.len()])?.expect("its own schedules");
        let all = norm.backward_schedules();
        Ok(norm.with_backward_schedule(all[self.picks[1] % all.len()]).expect("its own schedules"))
    }
}

/// Numbers of a case, each as its element has it.
pub struct Numbers {
    pub data: Data,
    pub dy: Vec<f32>,
}

impl Numbers {
    pub fn random(gpu: &Gpu, descriptor: &NormDescriptor<'_>, seed: u64) -> Self {
        let (types, data) = (descriptor.types, Data::random(gpu, descriptor, 0.5, seed));
        // other numbers than those of the input: along it there is hardly a gradient
        let dy = values(&mut fastrand::Rng::with_seed(seed + 1000), data.input.len() as u64, 0.0, 1.0);
        let data = Data {
            input: rounded(&data.input, types.input),
            scale: data.scale.map(|values| rounded(&values, types.scale)),
            bias: data.bias.map(|values| rounded(&values, types.bias)),
            given: None,
        };
        Self { data, dy: rounded(&dy, types.grad_output) }
    }

    pub fn inputs(&self) -> ReferenceInputs<'_> {
        let Data { input, scale, bias, .. } = &self.data;
        ReferenceInputs { input, scale: scale.as_deref(), bias: bias.as_deref(), given: None }
    }
}

/// Where all tensors of a norm lie.
struct Places {
    input: Place,
    output: Place,
    grad_output: Place,
    grad_input: Place,
    scale: Option<Place>,
    bias: Option<Place>,
    grad_scale: Option<Place>,
    grad_bias: Option<Place>,
}

impl Places {
    fn new(arena: &mut Arena, descriptor: &NormDescriptor<'_>, numbers: &Numbers, way: &Way, seed: u64) -> Self {
        let Numbers { data, dy } = numbers;
        let types = descriptor.types;
        let row = descriptor.shape.last().map_or(1, |&row| row as usize);
        let mut gaps = fastrand::Rng::with_seed(seed + 1);
        let mut next = || gaps.usize(..8);
        let strides = way.pads.map(|pad| (row, row + pad));
        // what is written is there before, as ones
        let (ones, parameter) = (|like: &[f32]| vec![1.0; like.len()], |values: &Option<Vec<f32>>| values.clone());
        let input = arena.tensor(types.input, &data.input, strides[0], next());
        let scale = parameter(&data.scale).map(|values| arena.list(types.scale, &values, next()));
        let output = arena.tensor(types.output, &ones(dy), strides[1], next());
        let bias = parameter(&data.bias).map(|values| arena.list(types.bias, &values, next()));
        let grad_output = arena.tensor(types.grad_output, dy, strides[2], next());
        let grad_input = arena.tensor(types.grad_input, &ones(dy), strides[3], next());
        // two that are written share no word, what is only read may
        arena.end_word();
        let grad_scale = parameter(&data.scale).map(|values| arena.list(types.grad_scale, &ones(&values), next()));
        arena.end_word();
        let grad_bias = parameter(&data.bias).map(|values| arena.list(types.grad_bias, &ones(&values), next()));
        let all = Self { input, output, grad_output, grad_input, scale, bias, grad_scale, grad_bias };
        let output = if way.in_place && types.output == types.input { all.input } else { all.output };
        let in_place = way.in_place && types.grad_input == types.grad_output;
        Self { output, grad_input: if in_place { all.grad_output } else { all.grad_input }, ..all }
    }

    /// The view of what is written, or in place.
    fn destination(buffer: &wgpu::Buffer, to: Place, from: Place) -> Destination<&wgpu::Buffer> {
        if to == from { Destination::InPlace } else { to.view(buffer).into() }
    }
}

/// Bytes of the arena after forward, and those of one as it was before after backward.
fn run(gpu: &Gpu, norm: &Norm, arena: &mut Arena, at: &Places) -> Result<[Vec<u8>; 2], String> {
    let [first, second] = [(); 2].map(|()| arena.upload(gpu));
    let records = gpu.buffer(&vec![POISON; 4 * norm.segment_count() as usize]);
    let saved = BufferView::whole(&records);
    let (workspace, scratch) = (norm.create_workspace().unwrap(), norm.create_backward_workspace().unwrap());
    let view = |buffer, place: Option<Place>| place.map(|place| place.view(buffer));
    let args = TrainingArgs::new(at.input.view(&first), Places::destination(&first, at.output, at.input), saved)
        .scale(view(&first, at.scale))
        .bias(view(&first, at.bias))
        .workspace(workspace.as_ref().map(BufferView::whole));
    let training = norm.bind_training(&args).map_err(|e| e.to_string())?;
    let statistics = BackwardStatistics::Saved(saved);
    let args = BackwardArgs::new(at.input.view(&second), at.grad_output.view(&second), statistics)
        .scale(view(&second, at.scale))
        .grad_input(Places::destination(&second, at.grad_input, at.grad_output))
        .grad_scale(view(&second, at.grad_scale))
        .grad_bias(view(&second, at.grad_bias))
        .workspace(scratch.as_ref().map(BufferView::whole));
    let backward = norm.bind_backward(&args).map_err(|e| e.to_string())?;
    gpu.run(&[&training, &backward]);
    let gradients: Vec<Place> = [Some(at.grad_input), at.grad_scale, at.grad_bias].into_iter().flatten().collect();
    Ok([arena.after(gpu, &first, &[at.output])?, arena.after(gpu, &second, &gradients)?])
}

/// Forward and backward of a norm in an arena; of the outputs how many are the reference rounded once, and how many
/// there are.
fn check(gpu: &Gpu, descriptor: &NormDescriptor<'_>, seed: u64) -> Result<(usize, usize), String> {
    let way = Way::of(seed);
    let norm = way.norm(gpu, descriptor).map_err(|e| e.to_string())?;
    let (numbers, mut arena) = (Numbers::random(gpu, descriptor, seed), Arena::new(seed));
    let at = Places::new(&mut arena, descriptor, &numbers, &way, seed);
    let name = || format!("{way:?} {} {}", norm.schedule(), norm.backward_schedule());
    let [forward, backward] = run(gpu, &norm, &mut arena, &at).map_err(|error| format!("{}: {error}", name()))?;
    let expected = reference::forward(descriptor, &numbers.inputs()).map_err(|e| e.to_string())?;
    let gradients = reference::backward(descriptor, &numbers.inputs(), &numbers.dy).map_err(|e| e.to_string())?;
    let largest = |values: &[f64]| values.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    // the gradient to the input is a difference of terms as large as grad_output * scale / deviation
    let least = expected.variance.iter().fold(1.0f64, |m, &x| m.min(x));
    let scale = largest(&wide(numbers.data.scale.as_deref().unwrap_or(&[])));
    let terms = largest(&wide(&numbers.dy)) * scale / (least + 1e-5).sqrt();
    let mut outputs = (0, 0);
    for (what, bytes, place, expected, scale) in [
        ("output", &forward, Some(at.output), &expected.output, largest(&expected.output)),
        ("grad_input", &backward, Some(at.grad_input), &gradients.input, terms),
        ("grad_scale", &backward, at.grad_scale, &gradients.scale, largest(&gradients.scale)),
        ("grad_bias", &backward, at.grad_bias, &gradients.bias, largest(&gradients.bias)),
    ] {
        let Some(place) = place else { continue };
        let (same, of) = compare(&place.read(bytes), expected, place.element, scale)
            .map_err(|error| format!("{what} {error}, {}", name()))?;
        if what == "output" && place.element != Element::F32 {
            outputs = (same, of);
        }
    }
    Ok(outputs)
}

/// Types of input, output, gradients and parameters, each its own.
fn mixed(rng: &mut fastrand::Rng) -> Types {
    let mut any = || [Element::F16, Element::Bf16, Element::F32][rng.usize(..3)];
    let types = Types::default().input(any()).output(any()).grad_output(any()).grad_input(any());
    types.scale(any()).bias(any()).grad_scale(any()).grad_bias(any())
}

/// Few different ones: each has kernels of its own.
fn types(rng: &mut fastrand::Rng, k: usize) -> Types {
    match k % 8 {
        7 => mixed(rng),
        k if k % 2 == 0 => Types::all(HALVES[k / 2 % 2]),
        k => Types::tensors(HALVES[k / 2 % 2]),
    }
}

/// Checks norms, the next one's number its seed; nearly all outputs are the reference rounded once.
fn check_all<'a>(what: &str, all: impl Iterator<Item = NormDescriptor<'a>>) {
    let gpu = gpu();
    let (mut failures, mut count, mut cases) = (Vec::new(), (0, 0), 0);
    for descriptor in all {
        cases += 1;
        match check(gpu, &descriptor, 100 + cases as u64) {
            Ok((same, of)) => count = (count.0 + same, count.1 + of),
            Err(error) => failures.push(format!(
                "{:?} {:?} {:?} {:?}: {error}",
                descriptor.kind, descriptor.shape, descriptor.format, descriptor.types
            )),
        }
    }
    all_or_report(what, &failures, cases);
    let share = count.0 as f64 / count.1 as f64;
    println!("{what}: {} of {} outputs are the reference rounded once", count.0, count.1);
    assert!(share >= 0.999, "{} of {} are the reference rounded once", count.0, count.1);
}

#[test]
fn rows_of_any_width_offset_and_type_round_once() {
    let mut rng = fastrand::Rng::with_seed(3);
    let shapes: Vec<[u64; 2]> = (1..=70).chain([1023]).map(|width| [3 + width / 2 % 2, width]).collect();
    let all = shapes.iter().enumerate().map(|(k, shape)| NormDescriptor {
        types: types(&mut rng, k),
        ..NormDescriptor::new(NormKind::Layer { axes: 1..2 }, shape)
    });
    check_all("rows in 16 bits", tier::some(all));
}

#[test]
fn channels_of_any_width_offset_and_type_round_once() {
    let mut rng = fastrand::Rng::with_seed(4);
    let widths = (1..=70).chain([1023]).enumerate();
    let shapes: Vec<[u64; 3]> = widths.map(|(k, width)| [2, [5, width][k % 2], [width, 3][k % 2] + 1]).collect();
    let kinds = [NormKind::Batch, NormKind::Instance, NormKind::Group { groups: 1 }];
    let all = shapes.iter().enumerate().map(|(k, shape)| NormDescriptor {
        format: [MemoryFormat::ChannelsFirst, MemoryFormat::ChannelsLast][k % 2],
        affine: Affine::ScaleAndBias,
        types: types(&mut rng, k / 2),
        single_element: SingleElement::Allow,
        ..NormDescriptor::new(kinds[k % 3].clone(), shape)
    });
    check_all("channels in 16 bits", tier::some(all));
}

/// Weights, and parameters that other axes have than those of the kind.
fn others() -> Vec<NormDescriptor<'static>> {
    let axes = |kind, shape, axes| NormDescriptor {
        affine_axes: AffineAxes::Axes(axes),
        affine: Affine::ScaleAndBias,
        ..NormDescriptor::new(kind, shape)
    };
    let mut all = vec![
        axes(NormKind::Layer { axes: 2..3 }, &[2, 9, 33], &[0, 2]),
        axes(NormKind::Layer { axes: 1..3 }, &[3, 5, 7], &[0]),
        axes(NormKind::Layer { axes: 1..3 }, &[2, 3, 5], &[]),
        axes(NormKind::Batch, &[2, 3, 5], &[0, 1, 2]),
    ];
    for dim in [None, Some(0), Some(1)] {
        all.push(NormDescriptor::new(NormKind::Weight { dim }, &[7, 5, 3]));
    }
    all
}

#[test]
fn every_norm_takes_every_type() {
    let mut rng = fastrand::Rng::with_seed(5);
    let all: Vec<_> = table().into_iter().chain(others()).collect();
    let typed = all.iter().enumerate().map(|(k, d)| NormDescriptor { types: types(&mut rng, k), ..d.clone() });
    let some = |d: &NormDescriptor<'_>| d.validate().is_ok() && !d.shape.contains(&0);
    check_all("norms in 16 bits", tier::some(typed.filter(some)));
}

/// Rows that take every path: an outlier first, gradients or numbers that leave the range of f32, a NaN.
fn harden(numbers: &mut Numbers, rows: usize, element: Element, with_nan: bool) {
    let width = numbers.dy.len() / rows;
    let [tiny, huge] = if element == Element::Bf16 { [1e-30, 3e37] } else { [1.0; 2] };
    let (input, dy) = (&mut numbers.data.input, &mut numbers.dy);
    for (number, (x, dy)) in input.chunks_mut(width).zip(dy.chunks_mut(width)).enumerate() {
        match number % 7 {
            // one alone, the first or the second of a pair: sums over rows would overflow
            0 if number == 7 * usize::from(with_nan) => dy.iter_mut().for_each(|dy| *dy = huge * (2.0 + *dy).abs()),
            1 => x[0] = 300.0,
            2 => dy.iter_mut().for_each(|dy| *dy *= tiny),
            3 if with_nan => x[width / 2] = f32::NAN,
            4 => x.iter_mut().for_each(|x| *x /= tiny),
            5 => dy[0] = 300.0,
            _ => {}
        }
    }
    *input = rounded(input, element);
    *dy = rounded(dy, element);
}

/// Each row on its own scale: what it is made of, over its deviation.
fn compare_rows(actual: &[f32], expected: &[f64], element: Element, scales: &[f64]) -> Result<(), String> {
    let width = actual.len() / scales.len();
    for (row, ((actual, expected), scale)) in actual.chunks(width).zip(expected.chunks(width)).zip(scales).enumerate() {
        let found = match expected.iter().any(|x| x.is_nan()) {
            true if actual.iter().all(|x| x.is_nan()) => Ok(()),
            true => Err("numbers beside a NaN".to_owned()),
            false => compare(actual, expected, element, *scale).map(drop),
        };
        found.map_err(|error| format!("row {row}: {error}"))?;
    }
    Ok(())
}

/// Rows of an odd number of halves, which begin or end inside words: each by itself on every path, whatever its
/// neighbours are, and with nothing beside them written.
#[test]
fn odd_rows_beside_hard_ones_round_once() {
    let own = gpu();
    let profile = DeviceProfile {
        kind: DeviceKind::Gpu,
        unit_registers: 64 << 10,
        workgroup_size: 256,
        max_vectors: 16,
        vectors_backward: 4,
        ..*own.engine.profile()
    };
    let other = own.with_profile(profile);
    let layer = || NormKind::Layer { axes: 1..2 };
    let rows: [(NormKind<'_>, &[u64]); 8] = [
        (layer(), &[14, 1023]),
        (layer(), &[28, 37]),
        (NormKind::Rms { axes: 1..2 }, &[28, 129]),
        (NormKind::Instance, &[2, 14, 7, 7]),
        // too long for the registers of a software adapter's profile
        (NormKind::Instance, &[1, 14, 67, 67]),
        (layer(), &[300, 7]),
        (layer(), &[14, 2047]),
        (layer(), &[9, 35]),
    ];
    let all = rows.iter().flat_map(|row| HALVES.map(|element| (row, element)));
    let all = all.flat_map(|row| [own, &other].map(|gpu| (row, gpu)));
    let all = all.flat_map(|row| (0..6u64).map(move |seed| (row, seed)));
    let (mut failures, mut cases, mut aligned) = (Vec::new(), 0, 0);
    for ((((kind, shape), element), gpu), seed) in tier::some(all) {
        cases += 1;
        let descriptor = NormDescriptor { types: Types::all(element), ..NormDescriptor::new(kind.clone(), shape) };
        let way = Way { picks: [0, 0], pads: [0; 4], in_place: seed % 3 == 2, f16_builtins: seed % 2 == 0 };
        let norm = way.norm(gpu, &descriptor).unwrap();
        let (count, with_nan) = (norm.segment_count() as usize, seed % 2 == 1);
        let mut numbers = Numbers::random(gpu, &descriptor, seed);
        harden(&mut numbers, count, element, with_nan);
        let mut arena = Arena::new(seed);
        let at = Places::new(&mut arena, &descriptor, &numbers, &way, seed);
        aligned += usize::from(at.output.is_word() && at.grad_input.is_word());
        let name = || format!("{kind:?} {shape:?} {element} {way:?} {} {}", norm.schedule(), norm.backward_schedule());
        let found = run(gpu, &norm, &mut arena, &at).and_then(|[forward, backward]| {
            let expected = reference::forward(&descriptor, &numbers.inputs()).unwrap();
            let gradients = reference::backward(&descriptor, &numbers.inputs(), &numbers.dy).unwrap();
            let width = numbers.dy.len() / count;
            let largest = |values: &[f64]| values.iter().fold(0.0f64, |most, x| most.max(x.abs()));
            let outputs: Vec<f64> = expected.output.chunks(width).map(|row| largest(row).max(1.0)).collect();
            let terms = numbers.dy.chunks(width).zip(&expected.variance);
            let terms: Vec<f64> = terms
                .map(|(dy, variance)| {
                    dy.iter().fold(0.0f64, |m, &x| m.max(x.abs().into())) * 4.0 / (variance + 1e-5).sqrt()
                })
                .collect();
            compare_rows(&at.output.read(&forward), &expected.output, element, &outputs)
                .map_err(|error| format!("output {error}"))?;
            compare_rows(&at.grad_input.read(&backward), &gradients.input, element, &terms)
                .map_err(|error| format!("grad_input {error}"))?;
            for (place, expected) in [(at.grad_scale, &gradients.scale), (at.grad_bias, &gradients.bias)] {
                let Some(place) = place.filter(|_| !with_nan) else { continue };
                compare(&place.read(&backward), expected, element, largest(expected))?;
            }
            Ok(())
        });
        failures.extend(found.err().map(|error| format!("{}: {error}", name())));
    }
    all_or_report("odd rows", &failures, cases);
    assert!(4 * aligned > cases / 2, "{aligned} of {cases} begin at words");
}
