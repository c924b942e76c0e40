//! A model with Burn's layer norm, and the same model with ours: the record of one loads in the other.
//!
//!     cargo run --release --example swap

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor};

mod before {
    use super::*;
    use burn::nn::{LayerNorm, LayerNormConfig};

    #[derive(Module, Debug)]
    pub struct Model {
        norm: LayerNorm,
        linear: Linear,
    }

    impl Model {
        pub fn new(device: &Device) -> Self {
            let norm = LayerNormConfig::new(48).init(device);
            Self { norm, linear: LinearConfig::new(48, 8).init(device) }
        }

        pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
            self.linear.forward(self.norm.forward(x))
        }
    }
}

mod after {
    use super::*;
    // the one line that changes in a model
    use wgpu_norm_burn::{LayerNorm, LayerNormConfig};

    #[derive(Module, Debug)]
    pub struct Model {
        norm: LayerNorm,
        linear: Linear,
    }

    impl Model {
        pub fn new(device: &Device) -> Self {
            let norm = LayerNormConfig::new(48).init(device);
            Self { norm, linear: LinearConfig::new(48, 8).init(device) }
        }

        pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
            self.linear.forward(self.norm.forward(x))
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // and the one where the program makes its device, in place of Device::default()
    let device = wgpu_norm_burn::init(Device::wgpu_options())?;
    let trained = before::Model::new(&device);
    let model = after::Model::new(&device).try_load_record(trained.clone().into_record())?;

    let x = Tensor::random([16, 48], Distribution::Normal(2.0, 1.0), &device);
    let differences = (model.forward(x.clone()) - trained.forward(x)).into_data();
    let difference = differences.iter::<f32>().fold(0.0, |largest: f32, d| largest.max(d.abs()));
    println!("{model}\nlargest difference to the model with Burn's norm: {difference:.1e}");
    if difference > 1e-4 {
        return Err("the models differ".into());
    }
    Ok(())
}
