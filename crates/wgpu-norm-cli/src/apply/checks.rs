//! What is asked of the files of a norm's operands, before either path computes.

use wgpu_norm::NormKind;
use wgpu_norm_tools::exact::Descriptor;
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::files::TensorFile;
use wgpu_norm_tools::shapes;

use super::Operands;
use super::settings::Settings;
use super::walk::Walk;

impl Operands {
    /// Compares the shapes with what the norm needs, before any element is read. Gives that of scale and bias, over the
    /// axes of the input.
    pub fn check(
        &self,
        settings: &Settings<'_>,
        descriptor: &Descriptor<'_>,
        walk: &Walk,
    ) -> Result<Vec<u64>, Failure> {
        let Descriptor::Norm(descriptor) = descriptor else { return Ok(Vec::new()) };
        let (mean, variance) = self.running.as_ref().map(|(mean, variance)| (mean, variance)).unzip();
        let of_input = |walked: Vec<u64>| walk.shape_of_input(&walked);
        let affine = of_input(shapes::affine(descriptor));
        let channels = mean.map(|_| of_input(shapes::channels(descriptor))).unwrap_or_default();
        let scale = if matches!(descriptor.kind, NormKind::Weight { .. }) { "--g" } else { "--scale" };
        let needed = [
            (scale, self.scale.as_ref(), &affine),
            ("--bias", self.bias.as_ref(), &affine),
            ("--running-mean", mean, &channels),
            ("--running-var", variance, &channels),
            ("--static-scale", self.static_scale.as_ref(), &vec![1]),
        ];
        for (option, file, expected) in needed {
            let Some(actual) = file.map(TensorFile::shape) else { continue };
            let way_out = || settings.way_out_of_shape(option, [actual, expected, self.input.shape()]);
            shapes::check(option, actual, expected, way_out)?;
        }
        Ok(affine)
    }
}

/// The one scale that a file holds.
pub fn static_scale(file: TensorFile) -> Result<f32, Failure> {
    let scale = file.read()?.first().copied().unwrap_or(0.0);
    if scale.is_finite() && scale > 0.0 {
        return Ok(scale);
    }
    Err(Failure::Usage(format!("--static-scale holds {scale}: numbers are divided by it, so it is finite and above 0")))
}
