//! Element types of tensors.

use std::fmt;

/// Bytes of a word: what one store writes, and bindings have whole ones of.
pub(crate) const WORD: u64 = 4;

/// How an element of a tensor is stored. Arithmetic, moments, sums and workspaces are f32 whatever the element is; what
/// is stored in 16 bits is rounded once, to the nearest, ties to even.
///
/// Conversions are made of operations on bits and of f32 arithmetic: no device feature is needed, and none rounds
/// otherwise. bf16 subnormals are subnormals of f32, which devices may take for 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u32)]
pub enum Element {
    /// 32-bit float.
    #[default]
    F32,
    /// 16-bit float: 5 bits of exponent, 10 of mantissa.
    F16,
    /// The upper half of a 32-bit float: 8 bits of exponent, 7 of mantissa.
    Bf16,
}

impl Element {
    /// Bytes of one element.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Elements that one store owns: neighbours within a grain (a word of memory) belong to one invocation.
    pub const fn grain(self) -> u64 {
        WORD / self.bytes()
    }

    /// Its name in kernels and files of recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Element types of a norm's tensors, each apart from the others. For use with [`NormDescriptor::types`]. f32 where
/// nothing else is said; moments, running statistics and workspaces always are.
///
/// [`NormDescriptor::types`]: crate::NormDescriptor::types
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Types {
    /// What is normalized; of an adaptive norm the style too, of a spectral norm the weight.
    pub input: Element,
    /// The result.
    pub output: Element,
    /// Gradient to the output.
    pub grad_output: Element,
    /// Gradient to the input; of an adaptive norm that to the style too.
    pub grad_input: Element,
    /// Factor of the affine map.
    pub scale: Element,
    /// Summand of the affine map.
    pub bias: Element,
    /// Gradient to the scale.
    pub grad_scale: Element,
    /// Gradient to the bias.
    pub grad_bias: Element,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])* pub const fn $name(self, $name: Element) -> Self { Self { $name, ..self } })*
    };
}

impl Types {
    /// All tensors of one type, parameters and their gradients too.
    pub const fn all(element: Element) -> Self {
        Self::tensors(element).parameters(element)
    }

    /// Input, output and their gradients of one type; parameters and their gradients f32.
    pub const fn tensors(element: Element) -> Self {
        let [input, output, grad_output, grad_input] = [element; 4];
        let [scale, bias, grad_scale, grad_bias] = [Element::F32; 4];
        Self { input, output, grad_output, grad_input, scale, bias, grad_scale, grad_bias }
    }

    /// With parameters and their gradients of one type.
    pub const fn parameters(self, element: Element) -> Self {
        Self { scale: element, bias: element, grad_scale: element, grad_bias: element, ..self }
    }

    setters! {
        /// With another type of input.
        input;
        /// With another type of output.
        output;
        /// With another type of gradient to the output.
        grad_output;
        /// With another type of gradient to the input.
        grad_input;
        /// With another type of scale.
        scale;
        /// With another type of bias.
        bias;
        /// With another type of gradient to the scale.
        grad_scale;
        /// With another type of gradient to the bias.
        grad_bias;
    }
}
