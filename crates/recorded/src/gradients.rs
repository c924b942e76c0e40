//! The gradients of a case under their recorded names.

use wgpu_norm_tools::compute::Gradients;
use wgpu_norm_tools::device::Gpu;
use wgpu_norm_tools::failure::Failure;

use crate::golden::Request;
use crate::setup::Setup;

/// The gradients that a case asks for, under their recorded names: to the input, the scale, the bias, the style.
#[derive(Clone, Copy)]
pub struct Wanted([Option<&'static str>; 4]);

impl Wanted {
    /// What `request` asks for, whole or by samples and sums.
    pub fn of(request: &Request, setup: &Setup) -> Self {
        let names = setup.names();
        let asked = |name: &str| {
            let is_part = |wanted: &String| {
                wanted.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            };
            request.wanted.keys().any(is_part)
        };
        Self([names.grad_input, names.grad_scale, "dbias", "dstyle"].map(|name| asked(name).then_some(name)))
    }

    /// Whether any is.
    pub fn any(self) -> bool {
        self.each().contains(&true)
    }

    /// Whether each is.
    pub fn each(self) -> [bool; 4] {
        self.0.map(|name| name.is_some())
    }

    /// Their elements, in logical order.
    pub fn download(
        self,
        gpu: &Gpu,
        setup: &Setup,
        gradients: &Gradients,
    ) -> Result<Vec<(&'static str, Vec<f32>)>, Failure> {
        let mut all = Vec::new();
        for (index, (name, tensor)) in self.0.into_iter().zip(gradients).enumerate() {
            let (Some(name), Some(tensor)) = (name, tensor) else { continue };
            let values = gpu.download(tensor)?;
            all.push((
                name,
                match index {
                    0 => setup.layout.restore(values, &setup.shape),
                    1 | 2 => setup.layout.restore_parameter(values, &setup.parameter_shape),
                    _ => values,
                },
            ));
        }
        Ok(all)
    }
}
