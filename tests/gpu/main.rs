//! Tests on a real adapter, in one binary: every norm against the f64 reference, and the promises of the embedding API.

mod adaptive;
mod backward;
mod elements;
mod embedding;
mod errors;
mod forward;
mod fused;
mod halves;
mod harness;
mod limits;
mod mixed;
mod numbers;
mod properties;
mod range;
#[cfg(feature = "json")]
mod recipes;
mod spectral;
#[cfg(feature = "state")]
mod state;
mod statistics;
mod sync;
mod trouble;
mod views;
mod warm_up;
