//! The planner of wgpu-norm as WebAssembly: a request in JSON comes in, an answer in JSON goes out.
//!
//! Nothing is kept from one request to the next, and nothing is imported: an instance is memory and three functions.
//! Who sends requests is `js/`, the recorder on the caller's `GPUDevice`; its types say what a request may hold.
//!
//! A request has `facts` of a device and a `descriptor` of a norm. Alone they are answered with what the plan says of
//! itself (sizes, schedules). With an `operation` and its `args` (views of buffers by number, size and usage) the
//! answer is a recipe as `docs/recipe.md` has it, with kernels by their names alone unless the request says `sources:
//! true`.

mod args;
mod descriptor;
mod error;
mod exports;
mod facts;
mod field;
mod fusion;
mod views;

use serde_json::Value;
use wgpu_norm::{Kernel, Planner};

use crate::descriptor::Planned;
use crate::error::Result;
use crate::field::Field;

pub use descriptor::Described;
pub use error::ArgumentError;

/// The answer to a request: `{"ok": ...}`, or `{"error": {"code", "message"}}`.
pub fn answer(request: &str) -> String {
    let answer = match serde_json::from_str(request) {
        Ok(request) => answer_to(&request),
        Err(error) => Err(ArgumentError::Unreadable { message: error.to_string() }.into()),
    };
    let answer = match answer {
        Ok(value) => object(vec![("ok", value)]),
        Err(error) => {
            let error = object(vec![("code", error.code.into()), ("message", error.message.into())]);
            object(vec![("error", error)])
        }
    };
    serde_json::to_string(&answer).unwrap_or_else(|_| unreachable!("names of fields are texts, and texts take any"))
}

/// Reads a descriptor as requests have it, and goes on with it; what is wrong with it in words.
pub fn described<R>(descriptor: &Value, then: impl FnOnce(Described<'_>) -> R) -> std::result::Result<R, String> {
    descriptor::read(&Field::root(descriptor), |described| Ok(then(described))).map_err(|error| error.message)
}

fn answer_to(request: &Value) -> Result<Value> {
    let request = Field::root(request);
    request.only(&["facts", "descriptor", "operation", "args", "sources"])?;
    let planner = Planner::new(facts::read(&request.required("facts")?)?);
    let plan = Planned::of(&planner, &request.required("descriptor")?)?;
    let Some(operation) = request.get("operation") else { return Ok(plan.to_json()) };
    let recipe = plan.recipe(operation.text()?, &request.required("args")?)?;
    let by_name = |kernel: &Kernel| kernel.to_string().into();
    let kernel = if request.flag("sources", false)? { Kernel::to_json } else { by_name };
    Ok(recipe.to_json_with(|buffer| buffer.id.to_string(), kernel))
}

/// An object of these fields.
fn object(fields: Vec<(&'static str, Value)>) -> Value {
    // one by one, as requests are read: a collection of them is sorted by code of its own
    let mut object = serde_json::Map::new();
    for (name, value) in fields {
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}
