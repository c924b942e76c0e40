//! Why a checkpoint cannot be read or written.

use super::{StateType, StateValues};

/// Names or mistakes listed in an error.
const LISTED: usize = 24;

/// Why a checkpoint cannot be read or written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The bytes are not a whole safetensors file.
    #[error("not a whole safetensors file: {message}")]
    Format {
        /// What is wrong with it.
        message: String,
    },
    /// The tensors are not those of the spec.
    #[error("the state does not fit: {}{}", list(.mistakes), hint(.mistakes, .available, .prefixes))]
    Mismatch {
        /// Every mistake.
        mistakes: Vec<StateMistake>,
        /// The names that there are, sorted.
        available: Vec<String>,
        /// Prefixes behind which all of the spec is: see [`StatePrefix`](crate::StatePrefix).
        prefixes: Vec<String>,
    },
    /// No values of this name.
    #[error("no tensor {name:?}")]
    NoSuchName {
        /// The name.
        name: String,
    },
    /// Values of another type.
    #[error("{name:?} is {actual:?}, not {expected:?}")]
    OtherType {
        /// The name.
        name: String,
        /// Type asked for.
        expected: StateType,
        /// Type of the values.
        actual: StateType,
    },
    /// A counter that does not fit the engine's 32 bits.
    #[error("counter {name:?} must be within 0..={}, got {value}", u32::MAX)]
    Counter {
        /// The name.
        name: String,
        /// Its value.
        value: i64,
    },
    /// A tensor that is no counter.
    #[error("{name:?} has {len} values, a counter has one")]
    SeveralValues {
        /// The name.
        name: String,
        /// Number of values.
        len: usize,
    },
}

impl StateError {
    pub(super) fn other_type(name: &str, expected: StateType, values: &StateValues) -> Self {
        Self::OtherType { name: name.to_owned(), expected, actual: values.dtype() }
    }
}

/// The first of them, and how many more there are.
fn bounded(items: &[String], separator: &str) -> String {
    let mut text = items.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(separator);
    if let Some(more @ 1..) = items.len().checked_sub(LISTED) {
        text += &format!("{separator}and {more} more");
    }
    text
}

fn list(mistakes: &[StateMistake]) -> String {
    bounded(&mistakes.iter().map(ToString::to_string).collect::<Vec<_>>(), "; ")
}

/// What there is, where something is missing, and the prefixes that would do.
fn hint(mistakes: &[StateMistake], available: &[String], prefixes: &[String]) -> String {
    let quoted = |names: &[String]| names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>();
    let missing =
        |mistake: &StateMistake| matches!(mistake, StateMistake::Missing { .. } | StateMistake::MissingCounter { .. });
    match (prefixes, available) {
        ([only], _) => format!("; all of it is there behind {only:?}, which StatePrefix::Found takes"),
        ([_, ..], _) => format!(
            "; all of it is there behind each of {}: StatePrefix::Given chooses",
            bounded(&quoted(prefixes), ", ")
        ),
        ([], []) => "; there is no tensor at all".to_owned(),
        ([], _) if mistakes.iter().any(missing) => format!("; there is {}", bounded(&quoted(available), ", ")),
        _ => String::new(),
    }
}

/// How one tensor departs from a [`StateSpec`](super::StateSpec). For use with [`StateError::Mismatch`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateMistake {
    /// The spec lists a name twice: a module without a prefix among several.
    #[error("{name:?} is listed twice")]
    ListedTwice {
        /// The name.
        name: String,
    },
    /// A tensor that the spec claims by its prefix but does not list.
    #[error("{name:?} is extra")]
    Extra {
        /// Its name.
        name: String,
    },
    /// A tensor of the spec is absent.
    #[error("{name:?} is missing")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A counter of the spec is absent.
    #[error("{name:?} is missing (AbsentCounters::Zero takes 0 for a counter that old checkpoints have not)")]
    MissingCounter {
        /// Its name.
        name: String,
    },
    /// A number that is none of 64 bits without a fraction, where one is needed.
    #[error("{name:?} holds {value}, needed whole numbers of 64 bits")]
    NotWhole {
        /// The tensor.
        name: String,
        /// The number.
        value: String,
    },
    /// Another element type.
    #[error("{name:?} is {actual}, needed {expected:?}")]
    Type {
        /// The tensor.
        name: String,
        /// Type of the spec.
        expected: StateType,
        /// Type found, as safetensors spells it.
        actual: String,
    },
    /// Another shape.
    #[error("{name:?} has shape {actual:?}, needed {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Shape of the spec.
        expected: Vec<u64>,
        /// Shape found.
        actual: Vec<u64>,
    },
    /// Another number of values than the shape to be saved has.
    #[error("{name:?} has {actual} values, shape {shape:?} does not")]
    Length {
        /// The tensor.
        name: String,
        /// Shape of the spec.
        shape: Vec<u64>,
        /// Number of values.
        actual: usize,
    },
}
