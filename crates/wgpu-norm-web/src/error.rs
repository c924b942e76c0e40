//! Errors as JavaScript gets them: the name of the library's variant, and the library's words.

use wgpu_norm::{BindError, EngineError, PlanError};

/// A code that programs compare, and words for people.
#[derive(Debug)]
pub(crate) struct Error {
    pub code: String,
    pub message: String,
}

/// Boxed, so that results are small.
pub(crate) type Result<T> = std::result::Result<T, Box<Error>>;

/// What is wrong with a request before the library sees it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// The request is no JSON.
    #[error("the request cannot be read: {message}")]
    Unreadable {
        /// What is wrong with it.
        message: String,
    },
    /// A field that is not known: misspelt, or of another kind of norm.
    #[error("{path} has no field '{field}': {}", known_fields(known))]
    UnknownField {
        /// Where the field stands.
        path: String,
        /// Its name.
        field: String,
        /// Those that could stand there.
        known: Vec<&'static str>,
    },
    /// A field that has to be there.
    #[error("{path} is missing")]
    Missing {
        /// Where it should stand.
        path: String,
    },
    /// A value of another type than the field has.
    #[error("{path} is {actual}, {expected} is wanted")]
    WrongType {
        /// Where it stands.
        path: String,
        /// What is wanted there.
        expected: &'static str,
        /// What stands there.
        actual: String,
    },
    /// A word that is none of those that may stand there.
    #[error("{path} is '{actual}', one of {} is wanted", known.join(", "))]
    UnknownWord {
        /// Where it stands.
        path: String,
        /// The word.
        actual: String,
        /// Those that could stand there.
        known: Vec<&'static str>,
    },
    /// An operation that this kind of norm does not have.
    #[error("{kind} has no operation '{operation}': it has {}", known.join(", "))]
    UnknownOperation {
        /// Kind of norm.
        kind: &'static str,
        /// The operation asked for.
        operation: String,
        /// Those that it has.
        known: Vec<&'static str>,
    },
}

fn known_fields(known: &[&str]) -> String {
    if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) }
}

/// `Debug` of an enum begins with the variant's name.
#[cold]
fn boxed(phase: &str, error: &impl std::error::Error) -> Box<Error> {
    let debug = format!("{error:?}");
    let variant = debug.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    Box::new(Error { code: format!("{phase}::{variant}"), message: error.to_string() })
}

macro_rules! from {
    ($($phase:ident)*) => {
        $(impl From<$phase> for Box<Error> {
            fn from(error: $phase) -> Self {
                boxed(stringify!($phase), &error)
            }
        })*
    };
}
from!(ArgumentError PlanError BindError EngineError);
