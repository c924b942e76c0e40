//! Element types on the command line.

#[cfg(feature = "native")]
use clap::ValueEnum;
#[cfg(feature = "native")]
use clap::builder::{PossibleValuesParser, TypedValueParser};
use wgpu_norm::Element;
#[cfg(feature = "native")]
use wgpu_norm::Types;

#[cfg(feature = "native")]
/// Of an option that takes an element type.
pub fn parser() -> impl TypedValueParser<Value = Element> {
    const ALL: [Element; 3] = [Element::F32, Element::F16, Element::Bf16];
    let named = |name: String| ALL.into_iter().find(|element| element.name() == name).unwrap_or_default();
    PossibleValuesParser::new(ALL.map(Element::name)).map(named)
}

#[cfg(feature = "native")]
/// Element types of norms that are planned or measured.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct TypeArgs {
    /// Element type of input, output and their gradients.
    #[arg(long, value_name = "TYPE", value_parser = parser(), default_value = "f32")]
    dtype: Element,
    /// Element type of scale, bias and their gradients.
    #[arg(long, value_enum, default_value = "f32")]
    parameters: Parameters,
}

#[cfg(feature = "native")]
/// Which type parameters have.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Parameters {
    /// 32-bit float.
    #[default]
    F32,
    /// That of the tensors.
    Same,
}

#[cfg(feature = "native")]
impl TypeArgs {
    /// As norms have them.
    pub fn types(self) -> Types {
        match self.parameters {
            Parameters::F32 => Types::tensors(self.dtype),
            Parameters::Same => Types::all(self.dtype),
        }
    }
}

/// Types of tensors and parameters in a word: `f32`; `bf16`; `bf16/bf16` where parameters have that type too.
pub fn in_a_word(tensors: &str, parameters: &str) -> String {
    if parameters == Element::F32.name() { tensors.to_owned() } else { format!("{tensors}/{parameters}") }
}

/// What the name of a case ends in: nothing where all is f32, else a blank and the types.
pub fn suffix(tensors: &str, parameters: &str) -> String {
    match in_a_word(tensors, parameters) {
        word if word == Element::F32.name() => String::new(),
        word => format!(" {word}"),
    }
}
