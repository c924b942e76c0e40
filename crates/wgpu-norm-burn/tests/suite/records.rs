//! Records go from Burn's modules to ours and back.

use burn::module::Module;
use burn::store::ModuleRecord;

use crate::*;

/// The record of one module, written and read as a file's bytes are, in the other; both give the same.
macro_rules! there_and_back {
    ($name:ident, $config:expr, $theirs:expr, $x:expr) => {
        #[test]
        fn $name() {
            let device = device();
            let trained = fill($theirs.init(&device), &device);
            let x: Tensor<3> = random($x, &device);
            let expected = numbers(&trained.forward(x.clone()));
            let bytes = trained.into_record().into_bytes().unwrap();
            let ours = $config.init(&device).load_record(ModuleRecord::from_bytes(bytes).unwrap());
            crate::compare::close("theirs to ours", &numbers(&ours.forward(x.clone())), &expected, 2e-5);
            let bytes = ours.into_record().into_bytes().unwrap();
            let back = $theirs.init(&device).load_record(ModuleRecord::from_bytes(bytes).unwrap());
            assert_eq!(numbers(&back.forward(x)), expected, "back to theirs");
        }
    };
}

/// Random parameters, positive so that variances are.
fn fill<M: Module>(module: M, device: &Device) -> M {
    struct Filler(Device);
    impl burn::module::ModuleMapper for Filler {
        fn map_float<const D: usize>(
            &mut self,
            param: burn::module::Param<Tensor<D>>,
        ) -> burn::module::Param<Tensor<D>> {
            let device = self.0.clone();
            param.map(|tensor| Tensor::random(tensor.shape(), Distribution::Uniform(0.5, 1.5), &device))
        }
    }
    module.map(&mut Filler(device.clone()))
}

use burn::nn;
use wgpu_norm_burn as norms;

there_and_back!(layer, norms::LayerNormConfig::new(6), nn::LayerNormConfig::new(6), [2, 4, 6]);
there_and_back!(
    layer_without_bias,
    norms::LayerNormConfig::new(6).with_bias(false),
    nn::LayerNormConfig::new(6).with_bias(false),
    [2, 4, 6]
);
there_and_back!(rms, norms::RmsNormConfig::new(6), nn::RmsNormConfig::new(6), [2, 4, 6]);
there_and_back!(group, norms::GroupNormConfig::new(2, 4), nn::GroupNormConfig::new(2, 4), [2, 4, 6]);
there_and_back!(instance, norms::InstanceNormConfig::new(4), nn::InstanceNormConfig::new(4), [2, 4, 6]);
there_and_back!(batch, norms::BatchNormConfig::new(4), nn::BatchNormConfig::new(4), [2, 4, 6]);

/// Configurations are saved in the same JSON.
#[test]
fn configurations() {
    use burn::config::Config;
    fn same(ours: &impl Config, theirs: &impl Config) {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["ours.json", "theirs.json"].map(|name| folder.path().join(name));
        ours.save(&a).unwrap();
        theirs.save(&b).unwrap();
        assert_eq!(std::fs::read_to_string(a).unwrap(), std::fs::read_to_string(b).unwrap());
    }
    same(&norms::LayerNormConfig::new(6).with_bias(false), &nn::LayerNormConfig::new(6).with_bias(false));
    same(&norms::RmsNormConfig::new(6), &nn::RmsNormConfig::new(6));
    same(&norms::GroupNormConfig::new(2, 4), &nn::GroupNormConfig::new(2, 4));
    same(&norms::InstanceNormConfig::new(4), &nn::InstanceNormConfig::new(4));
    same(&norms::BatchNormConfig::new(4).with_momentum(0.2), &nn::BatchNormConfig::new(4).with_momentum(0.2));
}
