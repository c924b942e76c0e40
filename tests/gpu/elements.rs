//! Tensors of 16 bits: conversions of every value, and every norm in arenas of mixed types with guards on both sides.

use crate::forward::table;
use crate::harness::*;
use half::{bf16, f16};
use wgpu_norm::reference::{self, ReferenceInputs};
use wgpu_norm::*;

const HALVES: [Element; 2] = [Element::F16, Element::Bf16];

fn number(element: Element, code: u16) -> f32 {
    if element == Element::F16 { f16::from_bits(code).to_f32() } else { bf16::from_bits(code).to_f32() }
}

/// Rounded once, to the nearest, ties to even.
fn code(element: Element, x: f64) -> u16 {
    let near = x as f32;
    // to an odd f32 where that is not x: so it is no tie that x is not, and rounds as x does
    let below = if f64::from(near).abs() > x.abs() { f32::from_bits(near.to_bits() - 1) } else { near };
    let inexact = x.is_finite() && f64::from(near) != x && near.is_finite();
    let odd = if inexact { f32::from_bits(below.to_bits() | 1) } else { near };
    if element == Element::F16 { f16::from_f32(odd).to_bits() } else { bf16::from_f32(odd).to_bits() }
}

fn round(element: Element, x: f64) -> f32 {
    if element == Element::F32 { x as f32 } else { number(element, code(element, x)) }
}

fn encode(element: Element, values: &[f32]) -> Vec<u8> {
    let halves = || values.iter().flat_map(|&x| code(element, x.into()).to_le_bytes()).collect();
    if element == Element::F32 { bytemuck::cast_slice(values).to_vec() } else { halves() }
}

fn decode(element: Element, bytes: &[u8]) -> Vec<f32> {
    match element {
        Element::F32 => bytemuck::pod_collect_to_vec(bytes),
        _ => bytes.chunks(2).map(|b| number(element, u16::from_le_bytes([b[0], b[1]]))).collect(),
    }
}

/// Whether a number is a subnormal f32, which devices may take for 0.
fn is_flushed(x: f32, y: f32) -> bool {
    x.is_subnormal() && y == 0.0
}

/// Equal, or both NaN.
fn is_same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

fn channels(gpu: &Gpu, count: u64) -> Norm {
    gpu.engine.create_norm(&NormDescriptor::new(NormKind::Batch, &[2, count])).unwrap()
}

#[test]
fn every_half_is_read_exactly() {
    let gpu = gpu();
    let norm = channels(gpu, 1 << 16);
    for element in HALVES {
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
    let all = finite.chain(beyond).filter(|x| x.is_nan() || x.abs() <= f32::INFINITY);
    all.flat_map(|x| [x, -x]).collect()
}

#[test]
fn every_number_is_rounded_to_the_nearest_half() {
    let gpu = gpu();
    for element in HALVES {
        let numbers = hard_numbers(element);
        let norm = channels(gpu, numbers.len() as u64);
        // the mean of a record is the sum of its first two numbers; -0 + -0 is -0
        let records: Vec<f32> = numbers.iter().flat_map(|&x| [x, -0.0, 0.0, 1.0]).collect();
        let records = gpu.buffer(&records);
        let rounded = gpu.bytes(&vec![0xab; 2 * numbers.len()]);
        let export = ExportArgs::new(BufferView::whole(&records)).mean(TensorView::whole_of(&rounded, element));
        gpu.run(&[&norm.bind_export(&export).unwrap()]);
        let bytes = read_buffer_blocking(&gpu.device, &gpu.queue, &rounded, 0..rounded.size()).unwrap();
        for (&x, actual) in numbers.iter().zip(decode(element, &bytes)) {
            let expected = round(element, x.into());
            let flushed = (x.is_subnormal() || expected.is_subnormal() && element == Element::Bf16) && actual == 0.0;
            assert!(is_same(actual, expected) || flushed, "{element} {x:e}: {actual:e}, expected {expected:e}");
        }
    }
}

/// A buffer in which tensors of several types lie one behind the other, between random bytes.
#[derive(Default)]
struct Arena {
    bytes: Vec<u8>,
    /// What may be written.
    written: Vec<std::ops::Range<usize>>,
}

impl Arena {
    /// Places a tensor so many elements behind what is there; two that are written never share a word.
    fn place(&mut self, rng: &mut fastrand::Rng, element: Element, values: &[f32], gap: usize) -> Place {
        let size = element.bytes() as usize;
        let start = self.bytes.len().next_multiple_of(4) + gap * size;
        self.bytes.resize_with(start, || rng.u8(..));
        self.bytes.extend(encode(element, values));
        Place { element, start, len: values.len() }
    }

    fn reserve(&mut self, rng: &mut fastrand::Rng, element: Element, len: usize, gap: usize) -> Place {
        let place = self.place(rng, element, &vec![1.0; len], gap);
        self.written.push(place.start..self.bytes.len());
        place
    }
}

/// Where a tensor lies.
#[derive(Clone, Copy)]
struct Place {
    element: Element,
    start: usize,
    len: usize,
}

impl Place {
    fn view(self, buffer: &wgpu::Buffer) -> TensorView<&wgpu::Buffer> {
        TensorView::new(buffer, self.start as u64, self.len as u64).of(self.element)
    }

    fn read(self, bytes: &[u8]) -> Vec<f32> {
        let end = self.start + self.len * self.element.bytes() as usize;
        decode(self.element, &bytes[self.start..end])
    }
}

/// Numbers of results that are the reference rounded once, and of all; an error where one is further off than its
/// neighbours are.
fn compare(actual: &[f32], expected: &[f64], element: Element, scale: f64) -> Result<(usize, usize), String> {
    let mut same = 0;
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let rounded = round(element, e);
        same += usize::from(a == rounded);
        let step = if element == Element::F32 { 0.0 } else { f64::from((a - rounded).abs()) };
        // the neighbour that the reference is nearly as far from
        let near = (f64::from(a) - e).abs() <= step / 2.0 + 2e-6 * scale;
        if a != rounded && !near {
            return Err(format!("element {i}: {a}, expected {e} ({element})"));
        }
    }
    Ok((same, actual.len()))
}

/// Forward and backward of a norm in an arena; of the outputs how many are the reference rounded once, and how many
/// there are.
fn check(gpu: &Gpu, descriptor: &NormDescriptor<'_>, seed: u64) -> Result<(usize, usize), String> {
    let norm = gpu.engine.create_norm(descriptor).map_err(|e| e.to_string())?;
    let (types, affine) = (descriptor.types, norm.affine_len() as usize);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut data = Data::random(gpu, descriptor, 0.5, seed);
    let in_type = |element, values: &mut Vec<f32>| {
        values.iter_mut().for_each(|x| *x = round(element, f64::from(*x)));
    };
    in_type(types.input, &mut data.input);
    data.scale.iter_mut().for_each(|values| in_type(types.scale, values));
    data.bias.iter_mut().for_each(|values| in_type(types.bias, values));
    let mut dy = values(&mut rng, norm.len(), 0.0, 1.0);
    in_type(types.grad_output, &mut dy);

    let mut arena = Arena::default();
    let mut gaps = fastrand::Rng::with_seed(seed + 1);
    let mut next = || gaps.usize(..8);
    let len = data.input.len();
    let input = arena.place(&mut rng, types.input, &data.input, next());
    let scale = data.scale.as_ref().map(|values| arena.place(&mut rng, types.scale, values, next()));
    let output = arena.reserve(&mut rng, types.output, len, next());
    let bias = data.bias.as_ref().map(|values| arena.place(&mut rng, types.bias, values, next()));
    let grad_output = arena.place(&mut rng, types.grad_output, &dy, next());
    let grad_input = arena.reserve(&mut rng, types.grad_input, len, next());
    let grad_scale = scale.map(|_| arena.reserve(&mut rng, types.grad_scale, affine, next()));
    let grad_bias = bias.map(|_| arena.reserve(&mut rng, types.grad_bias, affine, next()));
    let end = (arena.bytes.len() + 9).next_multiple_of(4);
    arena.bytes.resize_with(end, || rng.u8(..));

    let buffer = gpu.bytes(&arena.bytes);
    let view = |place: Option<Place>| place.map(|place| place.view(&buffer));
    let records = gpu.buffer(&vec![POISON; 4 * norm.segment_count() as usize]);
    let saved = BufferView::whole(&records);
    let (workspace, scratch) = (norm.create_workspace(), norm.create_backward_workspace());
    let training = TrainingArgs::new(input.view(&buffer), output.view(&buffer), saved)
        .scale(view(scale))
        .bias(view(bias))
        .workspace(workspace.as_ref().map(BufferView::whole));
    let training = norm.bind_training(&training).map_err(|e| e.to_string())?;
    let statistics = BackwardStatistics::Saved(saved);
    let args = BackwardArgs::new(input.view(&buffer), grad_output.view(&buffer), statistics)
        .scale(view(scale))
        .grad_input(grad_input.view(&buffer))
        .grad_scale(view(grad_scale))
        .grad_bias(view(grad_bias))
        .workspace(scratch.as_ref().map(BufferView::whole));
    let backward = norm.bind_backward(&args).map_err(|e| e.to_string())?;
    gpu.run(&[&training, &backward]);

    let after = read_buffer_blocking(&gpu.device, &gpu.queue, &buffer, 0..buffer.size()).unwrap();
    let untouched = |k: usize| arena.written.iter().any(|range| range.contains(&k)) || after[k] == arena.bytes[k];
    if let Some(k) = (0..after.len()).find(|&k| !untouched(k)) {
        return Err(format!("byte {k} was overwritten; written are {:?}", arena.written));
    }
    let inputs =
        ReferenceInputs { input: &data.input, scale: data.scale.as_deref(), bias: data.bias.as_deref(), given: None };
    let forward = reference::forward(descriptor, &inputs).map_err(|e| e.to_string())?;
    let gradients = reference::backward(descriptor, &inputs, &dy).map_err(|e| e.to_string())?;
    let largest = |values: &[f64]| values.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    // the gradient to the input is a difference of terms as large as grad_output * scale / deviation
    let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    let least = forward.variance.iter().fold(1.0f64, |m, &x| m.min(x));
    let terms = largest(&wide(&dy)) * largest(&wide(data.scale.as_deref().unwrap_or(&[]))) / (least + 1e-5).sqrt();
    let all = [
        ("output", Some(output), &forward.output, largest(&forward.output)),
        ("grad_input", Some(grad_input), &gradients.input, terms),
        ("grad_scale", grad_scale, &gradients.scale, largest(&gradients.scale)),
        ("grad_bias", grad_bias, &gradients.bias, largest(&gradients.bias)),
    ];
    let mut outputs = (0, 0);
    for (name, place, expected, scale) in all {
        let Some(place) = place else { continue };
        let (same, of) =
            compare(&place.read(&after), expected, place.element, scale).map_err(|error| format!("{name} {error}"))?;
        if name == "output" && place.element != Element::F32 {
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

fn types(rng: &mut fastrand::Rng, k: usize) -> Types {
    match k % 4 {
        0 => Types::all(HALVES[k / 4 % 2]),
        1 => Types::tensors(HALVES[k / 4 % 2]),
        _ => mixed(rng),
    }
}

#[test]
fn norms_of_any_width_offset_and_type_round_once() {
    let gpu = gpu();
    let mut rng = fastrand::Rng::with_seed(3);
    let (mut failures, mut count, mut cases) = (Vec::new(), (0, 0), 0);
    let mut run = |descriptor: &NormDescriptor<'_>, seed: u64| {
        cases += 1;
        match check(gpu, descriptor, seed) {
            Ok((same, of)) => count = (count.0 + same, count.1 + of),
            Err(error) => failures.push(format!(
                "{:?} {:?} {:?} {:?}: {error}",
                descriptor.kind, descriptor.shape, descriptor.format, descriptor.types
            )),
        }
    };
    for (k, width) in (1..=70).chain([1023]).enumerate() {
        for (j, rows) in [3, 4].into_iter().enumerate() {
            let shape = [rows, width];
            let descriptor = NormDescriptor {
                types: types(&mut rng, k + 2 * j),
                ..NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &shape)
            };
            run(&descriptor, 100 * width + rows);
        }
        let format = [MemoryFormat::ChannelsFirst, MemoryFormat::ChannelsLast][k % 2];
        let shape = [2, [5, width][k % 2], [width, 3][k % 2] + 1];
        let kinds = [NormKind::Batch, NormKind::Instance, NormKind::Group { groups: 1 }];
        let kind = kinds[k % 3].clone();
        run(
            &NormDescriptor {
                format,
                affine: Affine::ScaleAndBias,
                types: types(&mut rng, k / 2),
                single_element: SingleElement::Allow,
                ..NormDescriptor::new(kind, &shape)
            },
            width,
        );
    }
    all_or_report("16-bit tensors", &failures, cases);
    let share = count.0 as f64 / count.1 as f64;
    assert!(share >= 0.999, "{} of {} are the reference rounded once", count.0, count.1);
}

#[test]
fn every_norm_takes_every_type() {
    let gpu = gpu();
    let mut rng = fastrand::Rng::with_seed(5);
    let (mut failures, mut count, mut cases) = (Vec::new(), (0, 0), 0);
    for (k, descriptor) in table().into_iter().enumerate() {
        let descriptor = NormDescriptor { types: types(&mut rng, k), ..descriptor };
        if descriptor.validate().is_err() || descriptor.shape.contains(&0) {
            continue;
        }
        cases += 1;
        match check(gpu, &descriptor, k as u64) {
            Ok((same, of)) => count = (count.0 + same, count.1 + of),
            Err(error) => {
                failures.push(format!("{:?} {:?} {:?}: {error}", descriptor.kind, descriptor.shape, descriptor.types))
            }
        }
    }
    all_or_report("norms in 16 bits", &failures, cases);
    assert!(count.0 as f64 >= 0.999 * count.1 as f64, "{} of {}", count.0, count.1);
}
