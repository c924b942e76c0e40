//! `wgpu-norm`: normalization layers on the GPU, for files and from the command line.

mod adapters;
mod apply;
mod axes;
mod bench;
mod cases;
mod numbers;
mod plan;
mod shaders;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{BoolValueParser, OsStringValueParser, TypedValueParser};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use wgpu_norm_tools::device::DeviceArgs;
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::{device, output, terminal};

/// Normalization layers on the GPU: batch, layer, instance, group, RMS, AdaIN, Lp, weight, spectral.
#[derive(Parser)]
#[command(name = "wgpu-norm", version, after_help = EXAMPLES, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  wgpu-norm adapters                                    what is here
  wgpu-norm apply layer x.npy y.npy --check             layer norm over the last axis, checked against f64
  wgpu-norm apply group x.npy y.npy --groups 32 --scale params.safetensors:gn.weight
  wgpu-norm verify                                      every kernel against the CPU reference, once
  wgpu-norm bench --suite reference                     speed against what this adapter copies
  wgpu-norm plan layer 4096x1024 --backward             dispatches, bindings, parameters, kernels of a norm
  wgpu-norm shaders --target spirv --out spirv/         every kernel, translated

Exit codes: 0 all is well, 1 a check failed, 2 a bad request, file or device, 130 interrupted, 141 the reader of a tensor
on standard output went away.";

/// Options of all subcommands.
#[derive(clap::Args)]
pub struct Global {
    /// Which device.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Print JSON on standard output.
    #[arg(long, global = true, action = clap::ArgAction::SetTrue, value_parser = Json::switch())]
    pub json: Json,
}

/// Where JSON goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// Nowhere.
    No,
    /// To standard output.
    Stdout,
    /// To a file; only where a subcommand says so.
    File(PathBuf),
}

impl Json {
    fn switch() -> impl TypedValueParser<Value = Self> {
        BoolValueParser::new().map(|on| if on { Self::Stdout } else { Self::No })
    }

    /// Of an option with the same name and a value: `-` is standard output.
    pub fn parser() -> impl TypedValueParser<Value = Self> {
        OsStringValueParser::new().map(|path| if path == "-" { Self::Stdout } else { Self::File(path.into()) })
    }

    /// Whether it goes to standard output.
    pub fn on_stdout(&self) -> bool {
        *self == Self::Stdout
    }
}

#[derive(Subcommand)]
enum Command {
    /// Apply one norm to a .npy, .npz or .safetensors file.
    Apply(Box<apply::ApplyArgs>),
    /// Check every kernel and schedule against the f64 reference on this adapter.
    Verify(verify::VerifyArgs),
    /// Measure speed against what this adapter copies.
    Bench(bench::BenchArgs),
    /// List the adapters: features, limits, and whether the kernels run.
    Adapters(adapters::AdaptersArgs),
    /// Show what a norm comes to: dispatches, bindings, parameters, kernels.
    Plan(plan::PlanArgs),
    /// Write every kernel as WGSL, SPIR-V, MSL or HLSL.
    Shaders(shaders::ShadersArgs),
    /// Print a completion script for a shell.
    #[command(
        after_help = "Example:\n  wgpu-norm completions bash > ~/.local/share/bash-completion/completions/wgpu-norm"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    if device::is_selection_idle() {
        // SAFETY: first of all, no other thread runs yet that could read the environment meanwhile.
        unsafe { std::env::set_var(device::NO_SELECTION, "1") };
    }
    let cli = match parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return terminal::usage(&error),
    };
    output::remove_on_interrupt();
    run(cli).unwrap_or_else(|failure| failure.report())
}

fn parse(line: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&with_negative_numbers(Cli::command()).try_get_matches_from(line)?)
}

/// A negative number behind an option is its value, which its parser may refuse, and no option of its own.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    let takes_value = |arg: &clap::Arg| !arg.is_positional() && arg.get_action().takes_values();
    let command = command.mut_args(|arg| {
        let numbers = takes_value(&arg) && !arg.is_allow_hyphen_values_set();
        if numbers { arg.allow_negative_numbers(true) } else { arg }
    });
    command.mut_subcommands(with_negative_numbers)
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Apply(args) => apply::run(&args, global),
        Command::Verify(args) => verify::run(args, global),
        Command::Bench(args) => bench::run(args, global),
        Command::Adapters(args) => adapters::run(&args, global),
        Command::Plan(args) => plan::run(&args, global),
        Command::Shaders(args) => shaders::run(args, global),
        Command::Completions { shell } => completions(shell),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "wgpu-norm", &mut script);
    terminal::print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        with_negative_numbers(Cli::command()).debug_assert();
    }

    #[test]
    fn json_goes_where_it_is_sent() {
        for (line, expected) in [
            ("wgpu-norm bench", Json::No),
            ("wgpu-norm bench --json", Json::Stdout),
            ("wgpu-norm --json bench", Json::Stdout),
            ("wgpu-norm bench --json r.json --suite quick", Json::File("r.json".into())),
            ("wgpu-norm verify", Json::No),
            ("wgpu-norm verify --json", Json::Stdout),
        ] {
            let cli = parse(line.split(' ')).unwrap();
            assert_eq!(cli.global.json, expected, "{line}");
        }
        assert!(parse(["wgpu-norm", "verify", "--json=r.json"]).is_err());
    }

    #[test]
    fn every_help_has_an_example() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{} {help}", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
