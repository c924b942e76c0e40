//! Machine code of real GPU compilers, without a GPU: see `docs/gauge.md`.
//! Started by `scripts/gauge`, which prepares drivers and layer.

mod budget;
mod cases;
mod compare;
mod compiler;
mod count;
mod flow;
mod listing;
mod machine;
mod measured;
mod model;
mod program;
mod report;
mod suite;
mod table;
mod wgsl;

use std::process::ExitCode;

use clap::Parser;

/// Machine code of real GPU compilers, without a GPU.
#[derive(Parser)]
enum Arguments {
    Suite(suite::Arguments),
    Wgsl(wgsl::Arguments),
    Program(program::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse() {
        Arguments::Suite(arguments) => suite::run(&arguments),
        Arguments::Program(arguments) => program::run(&arguments),
        Arguments::Wgsl(arguments) => wgsl::run(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gauge: {error}");
            ExitCode::from(2)
        }
    }
}
