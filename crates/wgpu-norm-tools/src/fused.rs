//! What a norm's fusion names, one of each, in whatever form: files, axes, numbers, tensors on a device, views.

use std::convert::Infallible;

use wgpu_norm::reference::ReferenceFused;
use wgpu_norm::{Element, FusedArgs, FusedGradients, Fusion, Multiplier, TensorView};

/// One of each that a fusion can name; those that it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fused<T> {
    /// r of the prologue.
    pub residual: Option<T>,
    /// m of the prologue.
    pub gate: Option<T>,
    /// c of the prologue.
    pub prologue_bias: Option<T>,
    /// The tensor whose activation is a factor.
    pub z: Option<T>,
    /// g of the modulation.
    pub modulation_scale: Option<T>,
    /// t of the modulation.
    pub modulation_shift: Option<T>,
    /// e of the epilogue.
    pub addend: Option<T>,
    /// q of the epilogue.
    pub out_gate: Option<T>,
    /// r' of the epilogue.
    pub out_residual: Option<T>,
}

/// A tensor in memory, and the type that it has elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    /// Its type.
    pub element: Element,
    /// Its elements.
    pub values: Vec<f32>,
}

impl<T> Default for Fused<T> {
    fn default() -> Self {
        Self {
            residual: None,
            gate: None,
            prologue_bias: None,
            z: None,
            modulation_scale: None,
            modulation_shift: None,
            addend: None,
            out_gate: None,
            out_residual: None,
        }
    }
}

impl<T> Fused<T> {
    /// Borrowed.
    pub fn as_ref(&self) -> Fused<&T> {
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

    /// Each that is there made into another thing, by its name.
    pub fn try_map<U, E>(self, mut make: impl FnMut(&'static str, T) -> Result<U, E>) -> Result<Fused<U>, E> {
        let mut each = |name, value: Option<T>| value.map(|value| make(name, value)).transpose();
        Ok(Fused {
            residual: each("residual", self.residual)?,
            gate: each("gate", self.gate)?,
            prologue_bias: each("prologue bias", self.prologue_bias)?,
            z: each("z", self.z)?,
            modulation_scale: each("modulation scale", self.modulation_scale)?,
            modulation_shift: each("modulation shift", self.modulation_shift)?,
            addend: each("addend", self.addend)?,
            out_gate: each("out gate", self.out_gate)?,
            out_residual: each("out residual", self.out_residual)?,
        })
    }

    /// Each that is there made into another thing.
    pub fn map<U>(self, mut make: impl FnMut(T) -> U) -> Fused<U> {
        let Ok(made) = self.try_map(|_, value| Ok::<_, Infallible>(make(value)));
        made
    }

    /// Those that are there.
    pub fn present(self) -> impl Iterator<Item = T> {
        self.named().map(|(_, value)| value)
    }

    /// Those that are there, by their names.
    pub fn named(self) -> impl Iterator<Item = (&'static str, T)> {
        let mut all = Vec::new();
        let Ok(_) = self.try_map(|name, value| {
            all.push((name, value));
            Ok::<_, Infallible>(())
        });
        all.into_iter()
    }
}

impl<'a> Fused<&'a [usize]> {
    /// The axes along which each that a fusion names varies, in a tensor that has the axes `all`.
    pub fn axes(fusion: &Fusion<'a>, all: &'a [usize]) -> Self {
        let Fusion { prologue, modulation, epilogue, .. } = *fusion;
        let whole = |is_named: bool| is_named.then_some(all);
        let is_activated = matches!(prologue.multiplier, Multiplier::Activation(_));
        Self {
            residual: prologue.residual,
            gate: if let Multiplier::Gate(axes) = prologue.multiplier { Some(axes) } else { None },
            prologue_bias: prologue.bias,
            z: whole(is_activated || epilogue.gate.is_some()),
            modulation_scale: modulation.filter(|modulation| modulation.scale).map(|modulation| modulation.axes),
            modulation_shift: modulation.filter(|modulation| modulation.shift).map(|modulation| modulation.axes),
            addend: whole(epilogue.addend),
            out_gate: epilogue.out_gate,
            out_residual: whole(epilogue.out_residual),
        }
    }
}

impl<'a> From<Fused<&'a [f32]>> for ReferenceFused<'a> {
    fn from(values: Fused<&'a [f32]>) -> Self {
        Self {
            residual: values.residual,
            gate: values.gate,
            z: values.z,
            prologue_bias: values.prologue_bias,
            modulation_scale: values.modulation_scale,
            modulation_shift: values.modulation_shift,
            addend: values.addend,
            out_gate: values.out_gate,
            out_residual: values.out_residual,
        }
    }
}

impl<B> From<Fused<TensorView<B>>> for FusedArgs<B> {
    fn from(views: Fused<TensorView<B>>) -> Self {
        Self::default()
            .residual(views.residual)
            .gate(views.gate)
            .prologue_bias(views.prologue_bias)
            .z(views.z)
            .modulation_scale(views.modulation_scale)
            .modulation_shift(views.modulation_shift)
            .addend(views.addend)
            .out_gate(views.out_gate)
            .out_residual(views.out_residual)
    }
}

/// That to what is added in the end is the gradient to the output, which nobody writes.
impl<B> From<Fused<TensorView<B>>> for FusedGradients<B> {
    fn from(views: Fused<TensorView<B>>) -> Self {
        Self::default()
            .residual(views.residual)
            .gate(views.gate)
            .prologue_bias(views.prologue_bias)
            .z(views.z)
            .modulation_scale(views.modulation_scale)
            .modulation_shift(views.modulation_shift)
            .addend(views.addend)
            .out_gate(views.out_gate)
    }
}
