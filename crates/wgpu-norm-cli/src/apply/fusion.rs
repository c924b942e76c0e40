//! What `wgpu-norm apply` takes around a norm: files, the axes along which they vary, and what is made of them.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use wgpu_norm::{
    Activation, Element, Epilogue, Fusion, Modulation, Multiplier, NormalizedRounding, Prologue, SumRounding,
};
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::files::{TensorFile, TensorSpec};
use wgpu_norm_tools::fused::Fused;
use wgpu_norm_tools::{elements, shapes, types};

use crate::numbers::number;

use super::args::spec;
use super::quantize::QuantizeArgs;

/// What stands around a norm. Residual, gates, prologue bias and modulation have INPUT's size along the axes along
/// which they vary and 1 along others; leading sizes of 1 may be left out.
#[derive(Args, Default)]
// the heading holds for all options behind these: they come last
#[command(
    next_help_heading = "Around the norm (files have INPUT's sizes, or 1 along axes that they are the same along)"
)]
pub struct FusionArgs {
    /// Added to INPUT before it is normalized.
    #[arg(long, value_parser = spec(), value_name = "FILE")]
    residual: Option<TensorSpec>,
    /// Factor of INPUT before --residual is added.
    #[arg(long, value_parser = spec(), value_name = "FILE")]
    gate: Option<TensorSpec>,
    /// Added to INPUT and --residual.
    #[arg(long, value_parser = spec(), value_name = "FILE")]
    prologue_bias: Option<TensorSpec>,
    /// Statistics see that sum rounded to this type, and --sum-out has it [default: not rounded, f32].
    #[arg(long, value_name = "TYPE", value_parser = types::parser())]
    round_sum: Option<Element>,
    /// Write the sum too: what is normalized.
    #[arg(long, value_name = "FILE")]
    sum_out: Option<PathBuf>,
    /// Add 1 to --scale, as Gemma does.
    #[arg(long, requires = "scale")]
    one_plus_scale: bool,
    /// Round the normalized tensor to OUTPUT's type before it meets --scale, as Llama does.
    #[arg(long, requires = "scale")]
    round_normalized: bool,
    /// After scale and bias: factor, to which 1 is added.
    #[arg(long, value_parser = spec(), value_name = "FILE")]
    modulation_scale: Option<TensorSpec>,
    /// After scale and bias: summand.
    #[arg(long, value_parser = spec(), value_name = "FILE")]
    modulation_shift: Option<TensorSpec>,
    /// Add no 1 to --modulation-scale.
    #[arg(long, requires = "modulation_scale")]
    plain_modulation: bool,
    /// Added before --activation, of INPUT's shape.
    #[arg(long, value_parser = spec(), value_name = "FILE")]
    addend: Option<TensorSpec>,
    /// Function of the result.
    #[arg(long, value_enum, value_name = "FUNCTION")]
    activation: Option<Function>,
    /// Slope of leaky-relu below 0 [default: 0.01].
    #[arg(long, value_name = "SLOPE", value_parser = number, allow_hyphen_values = true)]
    slope: Option<f32>,
    /// A tensor of INPUT's shape whose --z-activation is a factor of the result.
    #[arg(long, value_parser = spec(), value_name = "FILE")]
    z: Option<TensorSpec>,
    /// Function of z.
    #[arg(long, value_enum, value_name = "FUNCTION", default_value = "silu", requires = "z")]
    z_activation: Function,
    /// z is a factor of INPUT, not of the result.
    #[arg(long, requires = "z", conflicts_with = "gate")]
    z_before: bool,
    /// Factor of the result.
    #[arg(long, value_parser = spec(), value_name = "FILE")]
    out_gate: Option<TensorSpec>,
    /// A number that the result is multiplied with.
    #[arg(long, value_name = "NUMBER", value_parser = number, allow_hyphen_values = true)]
    factor: Option<f32>,
    /// Added to the result in the end, of INPUT's shape.
    #[arg(long, value_parser = spec(), value_name = "FILE")]
    out_residual: Option<TensorSpec>,
    #[command(flatten)]
    pub quantize: QuantizeArgs,
}

/// A function of one number, as the command line spells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Function {
    Identity,
    Relu,
    LeakyRelu,
    #[default]
    Silu,
    Gelu,
    GeluTanh,
    Sigmoid,
}

impl Function {
    fn activation(self, slope: Option<f32>) -> Activation {
        match self {
            Self::Identity => Activation::Identity,
            Self::Relu => Activation::Relu,
            Self::LeakyRelu => Activation::LeakyRelu { slope: slope.unwrap_or(0.01) },
            Self::Silu => Activation::Silu,
            Self::Gelu => Activation::Gelu,
            Self::GeluTanh => Activation::GeluTanh,
            Self::Sigmoid => Activation::Sigmoid,
        }
    }
}

impl FusionArgs {
    /// The files to read.
    pub fn files(&self) -> Fused<&TensorSpec> {
        Fused {
            residual: self.residual.as_ref(),
            gate: self.gate.as_ref(),
            prologue_bias: self.prologue_bias.as_ref(),
            z: self.z.as_ref(),
            modulation_scale: self.modulation_scale.as_ref(),
            modulation_shift: self.modulation_shift.as_ref(),
            addend: self.addend.as_ref(),
            out_gate: self.out_gate.as_ref(),
            out_residual: self.out_residual.as_ref(),
        }
    }

    /// Where the sum goes, and its type.
    pub fn sum_out(&self) -> Result<Option<(&Path, Element)>, Failure> {
        let Some(path) = &self.sum_out else { return Ok(None) };
        if !self.has_prologue() {
            let message = "--sum-out: nothing is added to INPUT and it has no factor (--residual, --prologue-bias, \
                           --gate, --z-before): the sum would be INPUT itself";
            return Err(Failure::Usage(message.to_owned()));
        }
        Ok(Some((path, self.round_sum.unwrap_or_default())))
    }

    fn has_prologue(&self) -> bool {
        self.residual.is_some() || self.gate.is_some() || self.prologue_bias.is_some() || self.z_before
    }

    /// Refuses an option without an effect.
    pub fn check(&self) -> Result<(), Failure> {
        if self.slope.is_some() && ![self.activation, Some(self.z_activation)].contains(&Some(Function::LeakyRelu)) {
            return Err(Failure::Usage("--slope is of leaky-relu, which is no function here".to_owned()));
        }
        Ok(())
    }

    /// The axes along which each varies, by the shapes of the files.
    pub fn axes(&self, files: Fused<&TensorFile>, shape: &[u64]) -> Result<Fused<Vec<usize>>, Failure> {
        let all = || (0..shape.len()).collect::<Vec<_>>();
        let axes = files.try_map(|operand, file| {
            let option = format!("--{}", operand.replace(' ', "-"));
            match operand {
                "z" | "addend" | "out residual" => {
                    shapes::check(&option, file.shape(), shape, String::new).map(|()| all())
                }
                // sizes of 1 say nothing: one that is as long as the input has all axes
                "residual" if shapes::fits(file.shape(), shape) => Ok(all()),
                _ => shapes::varying_axes(&option, file.shape(), shape),
            }
        })?;
        match (&axes.modulation_scale, &axes.modulation_shift) {
            (Some(scale), Some(shift)) if scale != shift => Err(Failure::Usage(format!(
                "--modulation-scale varies along axes {scale:?} and --modulation-shift along axes {shift:?}: they need \
                 the same, so repeat one of them"
            ))),
            _ => Ok(axes),
        }
    }

    /// What stands around the norm, over these axes.
    pub fn fusion<'a>(&self, axes: &'a Fused<Vec<usize>>) -> Fusion<'a> {
        let fusion = Fusion::default().prologue(self.prologue(axes)).epilogue(self.epilogue(axes));
        let fusion = if self.one_plus_scale { fusion.one_plus_scale() } else { fusion };
        let fusion = match axes.modulation_scale.as_ref().or(axes.modulation_shift.as_ref()) {
            Some(along) => fusion.modulation(Modulation {
                scale: axes.modulation_scale.is_some(),
                shift: axes.modulation_shift.is_some(),
                one_plus: axes.modulation_scale.is_some() && !self.plain_modulation,
                ..Modulation::new(along)
            }),
            None => fusion,
        };
        let fusion = match self.quantize.quantization() {
            Some(quantization) => fusion.quantization(quantization),
            None => fusion,
        };
        if self.round_normalized { fusion.normalized_rounding(NormalizedRounding::AsOutput) } else { fusion }
    }

    fn prologue<'a>(&self, axes: &'a Fused<Vec<usize>>) -> Prologue<'a> {
        let mut prologue = Prologue::default();
        (prologue.residual, prologue.bias) = (axes.residual.as_deref(), axes.prologue_bias.as_deref());
        if self.z_before {
            prologue.multiplier = Multiplier::Activation(self.z_activation.activation(self.slope));
        } else if let Some(gate) = &axes.gate {
            prologue.multiplier = Multiplier::Gate(gate);
        }
        if let Some(element) = self.round_sum {
            prologue.rounding = SumRounding::AsStored(element);
        }
        prologue
    }

    fn epilogue<'a>(&self, axes: &'a Fused<Vec<usize>>) -> Epilogue<'a> {
        let activation = self.activation.unwrap_or(Function::Identity).activation(self.slope);
        let mut epilogue = Epilogue::activation(activation).factor(self.factor.unwrap_or(1.0));
        (epilogue.addend, epilogue.out_residual) = (axes.addend.is_some(), axes.out_residual.is_some());
        epilogue.out_gate = axes.out_gate.as_deref();
        if self.z.is_some() && !self.z_before {
            epilogue.gate = Some(self.z_activation.activation(self.slope));
        }
        epilogue
    }

    /// A step of the types, 16 bits wide, that something is rounded to before the output or its bytes are: where two
    /// computations differ by their last bit, one may round it up and the other down.
    pub fn step(&self, output: Element) -> f64 {
        let is_rounded = self.round_normalized || self.quantize.quantization().is_some();
        let rounded = self.round_sum.into_iter().chain(is_rounded.then_some(output));
        let narrow = rounded.filter(|&element| element != Element::F32);
        narrow.map(|element| 2.0 * elements::half_step(1.0, element)).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: FusionArgs,
        /// Which an option requires.
        #[arg(long)]
        scale: Option<String>,
    }

    fn parse(text: &str) -> FusionArgs {
        Line::try_parse_from(["apply"].into_iter().chain(text.split_whitespace())).unwrap().args
    }

    /// The fusion, where every file varies along axes 0 and 2.
    fn check(text: &str, expected: impl FnOnce(&'static [usize]) -> Fusion<'static>) {
        let args = parse(text);
        let axes = args.files().try_map(|_, _| Ok::<_, Failure>(vec![0, 2])).unwrap();
        assert_eq!(args.fusion(&axes), expected(&[0, 2]), "{text}");
    }

    #[test]
    fn options_are_a_fusion() {
        check("", |_| Fusion::default());
        check("--residual r.npy", |axes| Fusion::default().prologue(Prologue::residual(axes)));
        check("--residual r.npy --gate g.npy --prologue-bias c.npy --round-sum bf16", |axes| {
            let prologue = Prologue::residual(axes).multiplier(Multiplier::Gate(axes)).bias(axes);
            Fusion::default().prologue(prologue.rounding(SumRounding::AsStored(Element::Bf16)))
        });
        check("--z z.npy", |_| Fusion::default().epilogue(Epilogue::default().gate(Activation::Silu)));
        check("--z z.npy --z-before --z-activation sigmoid", |_| {
            Fusion::default().prologue(Prologue::default().multiplier(Multiplier::Activation(Activation::Sigmoid)))
        });
        check("--modulation-scale g.npy --modulation-shift t.npy", |axes| {
            Fusion::default().modulation(Modulation::new(axes))
        });
        check("--modulation-scale g.npy --plain-modulation", |axes| {
            Fusion::default().modulation(Modulation { shift: false, one_plus: false, ..Modulation::new(axes) })
        });
        check("--modulation-shift t.npy", |axes| {
            Fusion::default().modulation(Modulation { scale: false, one_plus: false, ..Modulation::new(axes) })
        });
        check("--activation leaky-relu --slope -0.5 --addend e.npy --factor -2", |_| {
            let epilogue = Epilogue::activation(Activation::LeakyRelu { slope: -0.5 }).addend().factor(-2.0);
            Fusion::default().epilogue(epilogue)
        });
        check("--out-gate q.npy --out-residual r.npy --activation gelu-tanh", |axes| {
            let epilogue = Epilogue::activation(Activation::GeluTanh).out_gate(axes).out_residual();
            Fusion::default().epilogue(epilogue)
        });
        check("--scale w.npy --one-plus-scale --round-normalized", |_| {
            Fusion::default().one_plus_scale().normalized_rounding(NormalizedRounding::AsOutput)
        });
    }

    #[test]
    fn options_that_say_nothing_alone_are_refused() {
        for text in [
            "--one-plus-scale",
            "--round-normalized",
            "--z-before",
            "--z-activation relu",
            "--plain-modulation",
            "--z z.npy --z-before --gate g.npy",
            "--activation tanh",
        ] {
            assert!(Line::try_parse_from(["apply"].into_iter().chain(text.split(' '))).is_err(), "{text}");
        }
        assert!(parse("--sum-out s.npy --activation relu").sum_out().is_err());
        let with_sum = parse("--sum-out s.npy --prologue-bias c.npy --round-sum f16");
        assert_eq!(with_sum.sum_out().unwrap(), Some((Path::new("s.npy"), Element::F16)));
    }

    #[test]
    fn only_what_is_rounded_to_16_bits_on_its_way_is_allowed_a_step() {
        assert_eq!(parse("--activation relu").step(Element::Bf16), 0.0);
        assert_eq!(parse("--round-sum f32").step(Element::Bf16), 0.0);
        assert_eq!(parse("--round-sum f16").step(Element::F32), 1.0 / 1024.0);
        assert_eq!(parse("--scale w.npy --round-normalized").step(Element::Bf16), 1.0 / 128.0);
    }
}
