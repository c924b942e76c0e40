//! Gradients: every norm, schedule and set of wanted gradients against the f64 reference.

use crate::forward::table;
use crate::harness::*;
use wgpu_norm::reference::{self, ReferenceInputs};
use wgpu_norm::*;
use wgpu_norm_tools::tier;

/// Which gradients are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wanted {
    pub input: bool,
    pub scale: bool,
    pub bias: bool,
}

/// Gradients in the order input, scale, bias; empty where not wanted.
pub type Gradients = [Vec<f32>; 3];

pub fn run_backward(gpu: &Gpu, norm: &Norm, data: &Data, dy: &[f32], wanted: Wanted) -> Result<Gradients, BindError> {
    let len = data.input.len();
    let (input, output, grad_output) = (gpu.guarded(&data.input), gpu.guarded(&vec![POISON; len]), gpu.guarded(dy));
    let [scale, bias] = [&data.scale, &data.bias].map(|values| guarded_of(gpu, values));
    let affine = norm.affine_len() as usize;
    let records = if data.given.is_some() { norm.given_segment_count() } else { norm.segment_count() };
    let statistics = gpu.buffer(&vec![POISON; 4 * records.max(1) as usize]);
    let statistics = BufferView::new(&statistics, 0, 16 * records);
    let workspace = norm.create_workspace().unwrap();
    let before = match &data.given {
        Some((mean, variance)) => {
            let (mean, variance) = (gpu.buffer(mean), gpu.buffer(variance));
            let (mean, variance) = (TensorView::new(&mean, 0, records), TensorView::new(&variance, 0, records));
            norm.bind_import(&ImportArgs::new(mean, variance, statistics))?
        }
        None => {
            let args = TrainingArgs::new(guarded_view(&input, len), guarded_view(&output, len), statistics)
                .scale(view_of(&scale, affine))
                .bias(view_of(&bias, affine))
                .workspace(workspace.as_ref().map(BufferView::whole));
            norm.bind_training(&args)?
        }
    };
    let lens = [len, affine, affine];
    let flags = [wanted.input, wanted.scale, wanted.bias];
    let gradients: Vec<Option<wgpu::Buffer>> =
        flags.iter().zip(lens).map(|(&want, len)| want.then(|| gpu.guarded(&vec![POISON; len]))).collect();
    let workspace = norm.create_backward_workspace().unwrap();
    let statistics = match data.given {
        Some(_) => BackwardStatistics::Given(statistics),
        None => BackwardStatistics::Saved(statistics),
    };
    let mut args = BackwardArgs::new(guarded_view(&input, len), guarded_view(&grad_output, len), statistics)
        .scale(view_of(&scale, affine))
        .grad_scale(view_of(&gradients[1], affine))
        .grad_bias(view_of(&gradients[2], affine))
        .workspace(workspace.as_ref().map(BufferView::whole));
    args.grad_input = view_of(&gradients[0], len).map(Destination::View);
    let bound = norm.bind_backward(&args)?;
    gpu.run(&[&before, &bound]);
    let read = |k: usize| gradients[k].as_ref().map_or(Vec::new(), |b| gpu.read_guarded(b));
    Ok([read(0), read(1), read(2)])
}

/// The gradient to the input with frozen statistics. The gradient through them is a difference whose terms are as
/// large.
fn frozen(descriptor: &NormDescriptor<'_>, inputs: &ReferenceInputs<'_>, dy: &[f32]) -> Result<Vec<f64>, String> {
    let forward = reference::forward(descriptor, inputs).map_err(|e| e.to_string())?;
    let narrow = |v: Vec<f64>| v.into_iter().map(|x| x as f32).collect::<Vec<_>>();
    let (mean, variance) = (narrow(forward.mean), narrow(forward.variance));
    let inputs = ReferenceInputs { given: Some((&mean, &variance)), ..*inputs };
    Ok(reference::backward(descriptor, &inputs, dy).map_err(|e| e.to_string())?.input)
}

/// Errors of the gradients as shares of the magnitude of their terms.
pub fn compare(descriptor: &NormDescriptor<'_>, data: &Data, dy: &[f32], actual: &Gradients) -> Result<f64, String> {
    let inputs = ReferenceInputs {
        input: &data.input,
        scale: data.scale.as_deref(),
        bias: data.bias.as_deref(),
        given: data.given.as_ref().map(|(m, v)| (m.as_slice(), v.as_slice())),
    };
    let expected = reference::backward(descriptor, &inputs, dy).map_err(|e| e.to_string())?;
    let by_rows =
        matches!(descriptor.kind, NormKind::Layer { .. } | NormKind::Rms { .. } | NormKind::LpNormalize { .. });
    // groups of two elements are rows of two: x_hat is plus and minus one, and hardly anything is left of the terms
    let is_pairs =
        matches!(descriptor.kind, NormKind::Group { groups } if *descriptor.shape == [descriptor.shape[0], 2 * groups]);
    let frozen = if by_rows {
        frozen(descriptor, &inputs, dy)?
    } else if is_pairs {
        let scale = inputs.scale.unwrap_or(&[1.0, 1.0]);
        let weighed: Vec<f32> = dy.iter().zip(scale.iter().cycle()).map(|(g, scale)| g * scale).collect();
        let shape = [dy.len() as u64 / 2, 2];
        let rows = NormDescriptor {
            eps: descriptor.eps,
            affine: Affine::None,
            ..NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &shape)
        };
        frozen(&rows, &ReferenceInputs { input: &data.input, ..Default::default() }, &weighed)?
    } else {
        expected.input.clone()
    };
    let magnitude = |values: &[f64]| values.iter().fold(0.0f64, |m, e| m.max(e.abs()));
    // a sum that cancels is as exact as its terms: their magnitudes are summed over the same segments, as gradients to
    // a bias
    let summed = |terms: &[f32], len: usize| -> Result<f64, String> {
        let zeros = vec![0.0; len];
        let bias_only = NormDescriptor { affine: Affine::Bias, ..descriptor.clone() };
        let inputs = ReferenceInputs { scale: None, bias: Some(&zeros), ..inputs };
        Ok(magnitude(&reference::backward(&bias_only, &inputs, terms).map_err(|e| e.to_string())?.bias))
    };
    let plain = NormDescriptor { affine: Affine::None, ..descriptor.clone() };
    let bare = ReferenceInputs { scale: None, bias: None, ..inputs };
    let x_hat = reference::forward(&plain, &bare).map_err(|e| e.to_string())?.output;
    let mut worst = 0.0f64;
    for (k, (actual, expected)) in actual.iter().zip([expected.input, expected.scale, expected.bias]).enumerate() {
        if actual.is_empty() {
            continue;
        }
        if expected.is_empty() {
            return Err(format!("gradient {k} has no reference"));
        }
        let largest = magnitude(&expected);
        let terms = match k {
            0 => magnitude(&frozen),
            1 => {
                let products: Vec<f32> =
                    dy.iter().zip(&x_hat).map(|(&g, &x)| (f64::from(g) * x).abs() as f32).collect();
                summed(&products, expected.len())?
            }
            _ => summed(&dy.iter().map(|g| g.abs()).collect::<Vec<_>>(), expected.len())?,
        };
        let share = if terms > 0.0 { (largest / terms).min(1.0) } else { 1.0 };
        worst = worst.max(error(actual, &expected).map_err(|e| format!("gradient {k}: {e}"))? * share);
    }
    Ok(worst)
}

fn all_wanted(descriptor: &NormDescriptor<'_>) -> Wanted {
    Wanted { input: true, scale: descriptor.affine.has_scale(), bias: descriptor.affine.has_bias() }
}

pub fn grad_output(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = fastrand::Rng::with_seed(seed + 1000);
    (0..len).map(|_| rng.f32() * 4.0 - 2.0).collect()
}

#[test]
fn gradients_of_every_norm_and_family_of_schedules_match_the_reference() {
    let gpu = gpu();
    let (mut failures, mut cases) = (Vec::new(), 0);
    let mut all = table();
    all.push(NormDescriptor::new(NormKind::Weight { dim: Some(0) }, &[7, 5, 3]));
    all.push(NormDescriptor::new(NormKind::Weight { dim: Some(1) }, &[7, 5, 3]));
    all.push(NormDescriptor::new(NormKind::Weight { dim: None }, &[7, 5, 3]));
    for (seed, descriptor) in tier::some(all.iter().enumerate()) {
        for mean in [0.0, 1e4] {
            let data = Data::random(gpu, descriptor, mean, seed as u64);
            let dy = grad_output(data.input.len(), seed as u64);
            let norm = gpu.engine.create_norm(descriptor).unwrap();
            let wanted = all_wanted(descriptor);
            for schedule in families(norm.backward_schedules()) {
                cases += 1;
                let norm = norm.with_backward_schedule(schedule).unwrap();
                let name = format!(
                    "{:?} {:?} {:?} mean {mean} {schedule}",
                    descriptor.kind, descriptor.shape, descriptor.affine
                );
                let worst = run_backward(gpu, &norm, &data, &dy, wanted)
                    .map_err(|e| e.to_string())
                    .and_then(|g| compare(descriptor, &data, &dy, &g));
                if !worst.as_ref().is_ok_and(|&e| e <= 3e-6) {
                    failures.push(format!("{name}: {worst:?}"));
                }
            }
        }
    }
    all_or_report("gradients", &failures, cases);
}

#[test]
fn every_set_of_wanted_gradients_is_the_same_gradients() {
    let gpu = gpu();
    let kinds: [(NormKind<'static>, &[u64], MemoryFormat); 5] = [
        (NormKind::Layer { axes: 1..2 }, &[9, 33], MemoryFormat::ChannelsFirst),
        (NormKind::Batch, &[3, 5, 40], MemoryFormat::ChannelsFirst),
        (NormKind::Group { groups: 2 }, &[2, 30, 6], MemoryFormat::ChannelsLast),
        (NormKind::Layer { axes: 1..2 }, &[3, 5, 7], MemoryFormat::ChannelsFirst),
        (NormKind::Batch, &[3, 5, 40], MemoryFormat::ChannelsLast),
    ];
    let statistics = |(kind, _, _): &(NormKind<'_>, _, _)| if *kind == NormKind::Batch { 2 } else { 1 };
    let all = kinds.iter().flat_map(|case| (0..statistics(case)).map(move |given| (case, given == 1)));
    let all = all.flat_map(|(case, given)| (1..8).map(move |mask| (case, given, mask)));
    for ((kind, shape, format), given, mask) in tier::some(all) {
        let descriptor = NormDescriptor { format: *format, ..NormDescriptor::new(kind.clone(), shape) };
        let norm = gpu.engine.create_norm(&descriptor).unwrap();
        let mut data = Data::random(gpu, &descriptor, 2.0, 7);
        if given {
            let channels = norm.given_segment_count() as usize;
            data.given = Some((vec![0.5; channels], (0..channels).map(|c| 1.0 + c as f32).collect()));
        }
        let dy = grad_output(data.input.len(), 3);
        let wanted = Wanted { input: mask & 1 > 0, scale: mask & 2 > 0, bias: mask & 4 > 0 };
        let gradients = run_backward(gpu, &norm, &data, &dy, wanted).unwrap();
        let again = run_backward(gpu, &norm, &data, &dy, wanted).unwrap();
        let name = || format!("{kind:?} {format:?} given {given} {wanted:?}");
        assert_eq!(gradients, again, "two runs differ: {}", name());
        let worst = compare(&descriptor, &data, &dy, &gradients);
        assert!(worst.as_ref().is_ok_and(|&e| e <= 3e-6), "{}: {worst:?}", name());
    }
}

#[test]
fn gradients_of_nothing_are_zero() {
    let gpu = gpu();
    for shape in [[0u64, 3, 4], [2, 3, 0]] {
        let descriptor = NormDescriptor::new(NormKind::Batch, &shape);
        let norm = gpu.engine.create_norm(&descriptor).unwrap();
        let data = Data::random(gpu, &descriptor, 0.0, 1);
        let wanted = Wanted { input: true, scale: true, bias: true };
        let [input, scale, bias] = run_backward(gpu, &norm, &data, &[], wanted).unwrap();
        assert_eq!((input, scale, bias), (vec![], vec![0.0; 3], vec![0.0; 3]));
    }
}

/// Rows that a GPU with many registers reads ahead, some steps a worker: no software adapter chooses that by itself.
#[test]
fn rows_that_are_read_ahead_have_the_same_gradients() {
    let gpu = gpu();
    let wanted = Wanted { input: true, scale: true, bias: true };
    for (shape, registers, expected) in [
        ([150, 1024], 64 << 10, "2 at once, read ahead"),
        ([149, 1023], 64 << 10, "2 at once, read ahead"),
        ([67, 2048], 32 << 10, "256x2 of 256, read ahead"),
    ] {
        let profile = DeviceProfile {
            kind: DeviceKind::Gpu,
            units: 8,
            unit_registers: registers,
            workgroup_size: 256,
            max_vectors: 16,
            vectors_backward: 4,
            ..*gpu.engine.profile()
        };
        let engine = gpu.engine.with_profile(profile).unwrap();
        let descriptor = NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &shape);
        let norm = engine.create_norm(&descriptor).unwrap();
        let schedule = norm.backward_schedule().to_string();
        assert!(schedule.contains(expected), "{shape:?}: {schedule}");
        let data = Data::random(gpu, &descriptor, 3.0, 7);
        let dy = values(&mut fastrand::Rng::with_seed(9), data.input.len() as u64, 0.1, 1.0);
        let actual = run_backward(gpu, &norm, &data, &dy, wanted).unwrap();
        let worst = compare(&descriptor, &data, &dy, &actual);
        assert!(worst.clone().is_ok_and(|e| e <= 2e-6), "{shape:?} {schedule}: {worst:?}");
    }
}
