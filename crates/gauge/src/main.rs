//! Machine code of real GPU compilers, without a GPU: see `docs/gauge.md`. Started by `scripts/gauge`, which prepares drivers and layer.

mod compiler;
mod flow;
mod listing;
mod machine;
mod table;
mod wgsl;

use std::process::ExitCode;

use clap::Parser;

/// Machine code of real GPU compilers, without a GPU.
#[derive(Parser)]
enum Arguments {
    Wgsl(wgsl::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse() {
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
