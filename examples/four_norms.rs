//! Batch, layer, instance and group norm of one tensor: what each of them brings to mean 0 and deviation 1.
//!
//! ```text
//! cargo run --release --example four_norms
//! ```

mod common;

use common::{Gpu, Result, largest_difference, moments, normal};
use wgpu_norm::reference::{self, ReferenceInputs};
use wgpu_norm::{Affine, Epsilon, NormDescriptor, NormKind};

const SHAPE: [u64; 4] = [8, 64, 120, 120];

/// The norms of the table, and what shares a mean and a variance in each.
const NORMS: [(&str, &str, NormKind<'static>); 5] = [
    ("Batch", "channel", NormKind::Batch),
    ("Layer", "sample", NormKind::Layer { axes: 1..4 }),
    ("Instance", "sample and channel", NormKind::Instance),
    ("Group, 2 groups", "sample and 32 channels", NormKind::Group { groups: 2 }),
    ("Group, 4 groups", "sample and 16 channels", NormKind::Group { groups: 4 }),
];

/// What one norm did.
pub struct Row {
    pub name: &'static str,
    pub shares: &'static str,
    /// Mean and deviation of each segment of the output.
    pub segments: Vec<(f64, f64)>,
    /// Largest difference to the f64 reference.
    pub error: f64,
    pub kernels: Vec<String>,
}

impl Row {
    pub fn largest_mean(&self) -> f64 {
        self.segments.iter().fold(0.0, |largest, (mean, _)| mean.abs().max(largest))
    }

    /// The smallest and the largest deviation.
    pub fn deviations(&self) -> (f64, f64) {
        self.segments.iter().fold((f64::MAX, 0.0), |(low, high), &(_, d)| (d.min(low), d.max(high)))
    }
}

/// Normalizes one random tensor, each sample and channel around a mean of its own, with each norm.
pub fn measure() -> Result<Vec<Row>> {
    let gpu = Gpu::open()?;
    let mut rng = fastrand::Rng::with_seed(1);
    let plane = (SHAPE[2] * SHAPE[3]) as usize;
    let mut input = Vec::with_capacity((SHAPE[0] * SHAPE[1]) as usize * plane);
    for _ in 0..SHAPE[0] * SHAPE[1] {
        let (mean, deviation) = (3.0 * normal(&mut rng), 0.5 + rng.f32());
        input.extend((0..plane).map(|_| mean + deviation * normal(&mut rng)));
    }
    let inputs = ReferenceInputs { input: &input, ..Default::default() };
    let rows = NORMS.iter().map(|(name, shares, kind)| {
        let descriptor = NormDescriptor {
            eps: Epsilon::InsideRoot(1e-8),
            affine: Affine::None,
            ..NormDescriptor::new(kind.clone(), &SHAPE)
        };
        let (output, kernels) = gpu.forward(&descriptor, &inputs)?;
        let error = largest_difference(&output, &reference::forward(&descriptor, &inputs)?.output);
        let segments = moments(&output, &SHAPE, kind).into_iter().map(|(mean, variance)| (mean, variance.sqrt()));
        Ok(Row { name, shares, segments: segments.collect(), error, kernels })
    });
    rows.collect()
}

fn main() -> Result<()> {
    let rows = measure()?;
    println!("N,C,H,W = {SHAPE:?}, eps 1e-8, no scale and bias\n");
    println!("norm             statistics per          segments  largest |mean|  deviation              largest error");
    for row in &rows {
        let (low, high) = row.deviations();
        let (name, shares, segments, mean) = (row.name, row.shares, row.segments.len(), row.largest_mean());
        println!("{name:<16} {shares:<23} {segments:>8} {mean:>15.1e}  {low:.7} - {high:.7}  {:>13.1e}", row.error);
    }
    println!("\nkernels");
    for row in &rows {
        println!("{:<16} {}", row.name, row.kernels.join("\n                 "));
    }
    Ok(())
}
