//! What the examples share: the program's device and its way to run a norm, and sums on the CPU to compare with.

#![allow(dead_code, reason = "each example is a program of its own and takes what it needs")]

use wgpu_norm::NormKind;
use wgpu_norm_tools::device::{DeviceArgs, Gpu};

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub fn open() -> Result<Gpu> {
    Ok(Gpu::require(&DeviceArgs::default(), "scripts/test installs a software driver")?)
}

/// A sample of the standard normal distribution.
pub fn normal(rng: &mut fastrand::Rng) -> f32 {
    let (radius, angle) = ((-2.0 * (1.0 - rng.f64()).ln()).sqrt(), std::f64::consts::TAU * rng.f64());
    (radius * angle.cos()) as f32
}

/// The segment to which sample `n` and channel `c` belong: what shares a mean and a variance.
pub fn segment(kind: &NormKind, channels: usize, n: usize, c: usize) -> usize {
    match kind {
        NormKind::Batch => c,
        NormKind::Instance => n * channels + c,
        NormKind::Group { groups } => (n * channels + c) * *groups as usize / channels,
        _ => n,
    }
}

/// Mean and variance of each segment of a tensor of `shape` N, C, H, W, in f64 and two passes.
pub fn moments(values: &[f32], shape: &[u64; 4], kind: &NormKind) -> Vec<(f64, f64)> {
    let [samples, channels, height, width] = shape.map(|size| size as usize);
    let segments = 1 + segment(kind, channels, samples - 1, channels - 1);
    let average = |of: &dyn Fn(f64, usize) -> f64| {
        let mut sums = vec![0.0; segments];
        for (k, plane) in values.chunks(height * width).enumerate() {
            let s = segment(kind, channels, k / channels, k % channels);
            sums[s] += plane.iter().map(|&x| of(f64::from(x), s)).sum::<f64>();
        }
        let count = values.len() as f64 / segments as f64;
        sums.into_iter().map(move |sum| sum / count).collect::<Vec<_>>()
    };
    let mean = average(&|x, _| x);
    let variance = average(&|x, s| (x - mean[s]).powi(2));
    mean.into_iter().zip(variance).collect()
}

/// The largest difference of two tensors.
pub fn largest_difference<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B]) -> f64 {
    assert_eq!(a.len(), b.len());
    // not f64::max, which would pass over NaN
    let larger = |most: f64, difference: f64| if difference > most || difference.is_nan() { difference } else { most };
    a.iter().zip(b).map(|(&a, &b)| (a.into() - b.into()).abs()).fold(0.0, larger)
}
