//! The norms against Burn's own, on a real adapter.

mod values;

use std::sync::OnceLock;

use burn::tensor::{Device, Distribution, Tensor};

/// One device for all tests: Burn has one runtime a device kind.
pub(crate) fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let init = || wgpu_norm_burn::init(Device::wgpu_options()).expect("an adapter");
    DEVICE.get_or_init(init).clone()
}

/// Random numbers around 0.5.
pub(crate) fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.5, 1.0), device)
}

pub(crate) fn numbers<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}
