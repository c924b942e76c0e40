//! The f64 reference beside the planner, for the page that verifies and measures a browser: a request in JSON comes in,
//! an answer in JSON goes out, tensors lie in this module's memory.
//!
//! | request | answer |
//! |---|---|
//! | `{"case": {"norm", "fill", "given"}}` | the operands of a norm, and names and types of what it computes |
//! | `{"judge": "output"}`, after its bytes were written | how far it is from the reference |
//! | `"version"` | that of this library |
//! | `{"report": {...}}` | a report of `wgpu-norm bench` as a page |
//!
//! Cases are filled as `wgpu-norm verify` fills them, and judged by its judge and its tolerance.

mod case;
mod exports;

use serde::Deserialize;
use serde_json::{Value, json};
use wgpu_norm_tools::fill::Fill;
use wgpu_norm_tools::report::{Report, html};

pub use case::{Case, Operand, Verdict};

/// What can be asked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Request {
    Case { norm: Value, fill: Fill, given: bool },
    Judge(String),
    Version,
    Report(Value),
}

/// The answer: `{"ok": ...}`, or `{"error": "..."}`. `case` is that of the last request for one, `bytes` what was
/// written since.
fn answer(request: &[u8], bytes: &[u8], case: &mut Option<Case>) -> String {
    match answer_to(request, bytes, case) {
        Ok(value) => json!({ "ok": value }),
        Err(why) => json!({ "error": why }),
    }
    .to_string()
}

fn answer_to(request: &[u8], bytes: &[u8], case: &mut Option<Case>) -> Result<Value, String> {
    let request = serde_json::from_slice(request).map_err(|error| format!("the request cannot be read: {error}"))?;
    match request {
        Request::Case { norm, fill, given } => {
            // the old one goes before the new one comes
            *case = None;
            let new = Case::of(&norm, fill, given)?;
            Ok(case.insert(new).to_json())
        }
        Request::Judge(name) => {
            let case = case.as_ref().ok_or("no case was asked for")?;
            Ok(case.judge(&name, bytes)?.to_json())
        }
        Request::Version => Ok(env!("CARGO_PKG_VERSION").into()),
        Request::Report(report) => Ok(html::page(&Report::parse(&report.to_string())?, &[], None).into()),
    }
}

#[cfg(test)]
mod tests;
