//! How many kernels an application with changing sizes compiles. No GPU.

use std::collections::BTreeSet;

use wgpu_norm::*;

/// Most kernels of one norm over changing sizes, each with its constants: forward, and forward, training and backward
/// together.
const MOST: [(&str, [usize; 2]); 4] =
    [("group", [6, 23]), ("instance", [6, 21]), ("layer", [5, 18]), ("batch", [6, 21])];

/// A device by its facts.
fn facts(software: bool) -> DeviceFacts {
    let mut facts = DeviceFacts::DEFAULT;
    (facts.kind, facts.min_subgroup) = if software { (DeviceKind::Software, 1) } else { (DeviceKind::Gpu, 32) };
    facts
}

/// The norms of a row, by its changing sizes.
fn norms(row: &str) -> (NormKind<'static>, Vec<Vec<u64>>) {
    match row {
        // images of one network
        "group" => (NormKind::Group { groups: 32 }, (0..30).map(|k| vec![2, 64, 14 + 7 * k, 14 + 5 * k]).collect()),
        // sounds of any length
        "instance" => (NormKind::Instance, (0..40).map(|k| vec![4, 32, 100 + 997 * k]).collect()),
        "layer" => (NormKind::Layer { axes: 1..2 }, (1..=60).map(|width| vec![512, width]).collect()),
        // batches and images
        _ => {
            let shape = |k: u64| vec![1 << (k % 6), 64, 7 << (k / 6 % 6), 7 << (k / 6 % 6)];
            (NormKind::Batch, (0..36).map(shape).collect())
        }
    }
}

/// Buffers that nobody has, with room behind their tensors.
struct Buffers(u32);

impl Buffers {
    fn id(&mut self, bytes: u64) -> BufferId {
        self.0 += 1;
        BufferId { id: self.0, size: bytes.next_multiple_of(256) + 256 }
    }

    fn tensor(&mut self, len: u64) -> TensorView<BufferId> {
        TensorView::at(self.id(4 * len), 0)
    }

    fn bytes(&mut self, size: u64) -> BufferView<BufferId> {
        BufferView::new(self.id(size), 0, size)
    }
}

/// Kernels of a forward pass, and of forward, training and backward.
fn kernels(planner: &Planner, d: &NormDescriptor<'_>) -> [Vec<Kernel>; 2] {
    let plan = planner.plan(d).expect("a plan");
    let mut b = Buffers(0);
    let (n, affine) = (plan.len(), plan.affine_len());
    let (input, scale, bias) = (b.tensor(n), b.tensor(affine), b.tensor(affine));
    let (output, workspace) = (b.tensor(n), b.bytes(plan.workspace_size()));
    let args = ForwardArgs::new(input, output).scale(scale).bias(bias).workspace(workspace);
    let forward = plan.forward(&args).expect("a recipe").kernels;
    let moments = b.bytes(plan.statistics_size());
    let args = TrainingArgs::new(input, output, moments).scale(scale).bias(bias).workspace(workspace);
    let training = plan.training(&args).expect("a recipe").kernels;
    let args = BackwardArgs::new(input, b.tensor(n), BackwardStatistics::Saved(moments))
        .scale(scale)
        .grad_input(b.tensor(n))
        .grad_scale(b.tensor(affine))
        .grad_bias(b.tensor(affine))
        .workspace(b.bytes(plan.backward_workspace_size()));
    let backward = plan.backward(&args).expect("a recipe").kernels;
    [forward.clone(), [forward, training, backward].concat()]
}

#[test]
fn a_norm_over_changing_sizes_has_a_handful_of_kernels() {
    let mut wrong = Vec::new();
    for (row, most) in MOST {
        for software in [false, true] {
            let planner = Planner::new(facts(software));
            let (kind, shapes) = norms(row);
            let mut found = [BTreeSet::new(), BTreeSet::new()];
            for shape in &shapes {
                let kernels = kernels(&planner, &NormDescriptor::new(kind.clone(), shape));
                for (found, kernels) in found.iter_mut().zip(kernels) {
                    found.extend(kernels.iter().map(Kernel::to_string));
                }
            }
            let counts = found.each_ref().map(BTreeSet::len);
            let what = format!("{row} over {} shapes, software {software}", shapes.len());
            println!("{what}: {} kernels forward, {} with training and backward", counts[0], counts[1]);
            if counts.iter().zip(most).any(|(&count, most)| count > most) {
                let names: Vec<_> = found[0].iter().map(String::as_str).collect();
                wrong.push(format!("{what}: {counts:?} kernels, of which forward\n  {}", names.join("\n  ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
