//! Views: offsets, arenas, in place, padded rows.

use crate::elements::Numbers;
use crate::halves::*;
use crate::harness::*;
use wgpu_norm::*;
use wgpu_norm_tools::elements::{decode, encode};

/// Where the operands of one norm lie in an arena, in elements.
struct Arena {
    input: u64,
    output: u64,
    scale: u64,
    bias: u64,
    len: u64,
}

fn descriptors() -> Vec<NormDescriptor<'static>> {
    vec![
        NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &[7, 61]),
        NormDescriptor::new(NormKind::Batch, &[3, 5, 29]),
        NormDescriptor::new(NormKind::Group { groups: 2 }, &[3, 4, 13]),
        NormDescriptor { format: MemoryFormat::ChannelsLast, ..NormDescriptor::new(NormKind::Instance, &[3, 40, 5]) },
        // vectors that two segments share
        NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &[8, 517]),
    ]
}

fn check_in_arena(gpu: &Gpu, descriptor: &NormDescriptor<'_>, data: &Data, norm: &Norm, arena: &Arena, in_place: bool) {
    let mut all = vec![POISON; arena.len as usize];
    let parts =
        [(arena.input, Some(&data.input)), (arena.scale, data.scale.as_ref()), (arena.bias, data.bias.as_ref())];
    for (at, values) in parts.into_iter().filter_map(|(at, values)| Some((at as usize, values?))) {
        all[at..at + values.len()].copy_from_slice(values);
    }
    let before = all.clone();
    let buffer = gpu.buffer(&all);
    let view = |at: u64, len: u64| TensorView::new(&buffer, 4 * at, len);
    let workspace = norm.create_workspace().unwrap();
    let output = if in_place { Destination::InPlace } else { view(arena.output, norm.len()).into() };
    let args = ForwardArgs::new(view(arena.input, norm.len()), output)
        .scale(data.scale.as_ref().map(|_| view(arena.scale, norm.affine_len())))
        .bias(data.bias.as_ref().map(|_| view(arena.bias, norm.affine_len())))
        .workspace(workspace.as_ref().map(BufferView::whole));
    let bound = norm.bind_forward(&args).expect("disjoint views");
    gpu.run(&[&bound]);
    let after = gpu.read(&buffer);
    let at = if in_place { arena.input } else { arena.output } as usize;
    let range = at..at + norm.len() as usize;
    let worst = error(&after[range.clone()], &data.reference(descriptor).output);
    assert!(worst.clone().is_ok_and(|e| e < 2e-6), "{:?} {}: {worst:?}", descriptor.kind, norm.schedule());
    let untouched = |k: usize| range.contains(&k) || after[k].to_bits() == before[k].to_bits();
    assert!((0..before.len()).all(untouched), "{:?} wrote outside its output", descriptor.kind);
}

#[test]
fn operands_share_one_buffer_at_any_offset() {
    let gpu = gpu();
    for descriptor in descriptors() {
        let data = Data::random(gpu, &descriptor, 1.0, 1);
        for schedule in gpu.engine.schedules(&descriptor).unwrap() {
            let norm = gpu.engine.create_norm_with(&descriptor, schedule).unwrap().unwrap();
            let (n, a) = (norm.len(), norm.affine_len());
            for shift in [0, 1, 3, 63, 64, 65] {
                // densely packed, so that ranges touch within one alignment unit; and with the output in front
                let dense = Arena {
                    input: shift,
                    output: shift + n,
                    scale: shift + 2 * n,
                    bias: shift + 2 * n + a,
                    len: shift + 2 * n + 2 * a + 9,
                };
                let reversed = Arena {
                    output: 5,
                    bias: 5 + n,
                    scale: 5 + n + a,
                    input: 5 + n + 2 * a + shift,
                    len: 5 + 2 * n + 2 * a + shift + 1,
                };
                check_in_arena(gpu, &descriptor, &data, &norm, &dense, false);
                check_in_arena(gpu, &descriptor, &data, &norm, &dense, true);
                check_in_arena(gpu, &descriptor, &data, &norm, &reversed, false);
            }
        }
    }
}

/// The layout `[rows][stride]` of a tensor in rows of `row`.
fn pad(values: &[f32], row: usize, stride: usize) -> Vec<f32> {
    values.chunks(row).flat_map(|r| r.iter().copied().chain(std::iter::repeat_n(POISON, stride - row))).collect()
}

#[test]
fn rows_may_be_padded() {
    let gpu = gpu();
    for descriptor in descriptors() {
        let row = *descriptor.shape.last().unwrap() as usize;
        let data = Data::random(gpu, &descriptor, 1.0, 2);
        let expected = data.reference(&descriptor).output;
        for schedule in gpu.engine.schedules(&descriptor).unwrap() {
            let norm = gpu.engine.create_norm_with(&descriptor, schedule).unwrap().unwrap();
            for (pad_in, pad_out) in [(3, 0), (0, 7), (64, 5)] {
                let input = gpu.buffer(&pad(&data.input, row, row + pad_in));
                let output = gpu.buffer(&vec![POISON; data.input.len() / row * (row + pad_out)]);
                let [scale, bias] = [&data.scale, &data.bias].map(|d| gpu.buffer(d.as_ref().unwrap()));
                let workspace = norm.create_workspace().unwrap();
                let args = ForwardArgs::new(
                    TensorView::new(&input, 0, norm.len()).with_row_stride((row + pad_in) as u64),
                    TensorView::new(&output, 0, norm.len()).with_row_stride((row + pad_out) as u64),
                )
                .scale(TensorView::whole(&scale))
                .bias(TensorView::whole(&bias))
                .workspace(workspace.as_ref().map(BufferView::whole));
                gpu.run(&[&norm.bind_forward(&args).unwrap()]);
                let written = gpu.read(&output);
                let rows = written.chunks(row + pad_out);
                let values: Vec<f32> = rows.clone().flat_map(|r| r[..row].iter().copied()).collect();
                let worst = error(&values, &expected);
                assert!(worst.clone().is_ok_and(|e| e < 2e-6), "{:?} {schedule}: {worst:?}", descriptor.kind);
                assert!(
                    rows.flat_map(|r| &r[row..]).all(|&x| x == POISON),
                    "{:?} {schedule} wrote its padding",
                    descriptor.kind
                );
            }
        }
    }
}

/// The two halves of each row of one buffer: ranges overlap, elements do not.
#[test]
fn interleaved_halves_of_one_buffer_are_disjoint() {
    let gpu = gpu();
    let descriptor =
        NormDescriptor { affine: Affine::None, ..NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &[6, 8]) };
    let norm = gpu.engine.create_norm(&descriptor).unwrap();
    let data = Data::random(gpu, &descriptor, 0.0, 3);
    let buffer = gpu.buffer(&pad(&data.input, 8, 16));
    let bind = |output: u64| {
        let output = TensorView::new(&buffer, 4 * output, 48).with_row_stride(16);
        let input = TensorView::new(&buffer, 0, 48).with_row_stride(16);
        norm.bind_forward(&ForwardArgs::new(input, output))
    };
    assert!(matches!(bind(7), Err(BindError::OutOfBounds { .. } | BindError::Overlap { .. })));
    gpu.run(&[&bind(8).unwrap()]);
    let after = gpu.read(&buffer);
    let right: Vec<f32> = after.chunks(16).flat_map(|r| r[8..].iter().copied()).collect();
    assert!(error(&right, &data.reference(&descriptor).output).unwrap() < 1e-6);
    assert_eq!(after.chunks(16).flat_map(|r| r[..8].iter().copied()).collect::<Vec<_>>(), data.input);
}

/// The same where rows begin and end inside words: those that both columns have halves of.
#[test]
fn interleaved_columns_of_halves_are_disjoint() {
    let gpu = gpu();
    for (element, stride) in [(Element::F16, 10), (Element::Bf16, 11)] {
        let descriptor = NormDescriptor {
            affine: Affine::None,
            types: Types::tensors(element),
            ..NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &[7, 5])
        };
        let norm = gpu.engine.create_norm(&descriptor).unwrap();
        let numbers = Numbers::random(gpu, &descriptor, 3);
        let rows = pad(&numbers.data.input, 5, stride);
        let buffer = gpu.bytes(&[&encode(&rows, element)[..], &vec![0; 4 - rows.len() * 2 % 4]].concat());
        let view = |column: u64| TensorView::new(&buffer, 2 * column, 35).with_row_stride(stride as u64);
        let workspace = norm.create_workspace().unwrap();
        let args = ForwardArgs::new(view(0), view(5)).workspace(workspace.as_ref().map(BufferView::whole));
        gpu.run(&[&norm.bind_forward(&args).unwrap()]);
        let bytes = read_buffer_blocking(&gpu.device, &gpu.queue, &buffer, 0..buffer.size()).unwrap();
        let after = decode(&bytes[..2 * rows.len()], element);
        let columns = |first: usize| -> Vec<f32> {
            after.chunks(stride).flat_map(|row| row[first..first + 5].iter().copied()).collect()
        };
        compare(&columns(5), &numbers.data.reference(&descriptor).output, element, 2.0).unwrap();
        assert_eq!(columns(0), numbers.data.input);
    }
}
