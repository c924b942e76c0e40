//! The norms against Burn's own, on a real adapter.

mod batch;
mod compare;
mod dtypes;
mod edges;
mod fused;
mod records;
mod refusals;
mod setups;
mod threads;
mod train;
mod values;

use std::sync::OnceLock;

use burn::tensor::wgpu::WgpuSetup;
use burn::tensor::{Device, Distribution, Tensor};

/// One device for all tests: Burn has one runtime a device kind.
pub(crate) fn setup() -> &'static (Device, WgpuSetup) {
    static SETUP: OnceLock<(Device, WgpuSetup)> = OnceLock::new();
    SETUP.get_or_init(|| {
        let (device, setup) = Device::wgpu_options().init_with_setup().expect("an adapter");
        wgpu_norm_burn::register(&device, &setup).expect("an engine");
        (device, setup)
    })
}

pub(crate) fn device() -> Device {
    setup().0.clone()
}

/// Random numbers around 0.5.
pub(crate) fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.5, 1.0), device)
}

pub(crate) fn numbers<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}
