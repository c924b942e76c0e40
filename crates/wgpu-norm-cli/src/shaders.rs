//! `wgpu-norm shaders`: the kernels that norms need, as WGSL, SPIR-V, MSL or HLSL, with their bindings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use wgpu_norm::Kernel;
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::outline::devices;
use wgpu_norm_tools::shaders::{self, Target, Written};
use wgpu_norm_tools::terminal;

use crate::Global;
use crate::bench::suite::Suite;
use crate::cases;

/// Arguments of `wgpu-norm shaders`.
#[derive(clap::Args)]
#[command(after_help = "\
They are those that plans make of the reference suite of `bench` and of the cases of `verify`, for a GPU with and without
subgroup operations and for a software driver. `wgpu-norm plan` shows those of one norm.

Examples:
  wgpu-norm shaders --target wgsl --out kernels/
  wgpu-norm shaders --target spirv --out spirv/ && spirv-val --target-env vulkan1.1 spirv/*.spv")]
pub struct ShadersArgs {
    /// Language to write.
    #[arg(long, value_enum)]
    target: Target,
    /// Folder to write to, made where it is missing; files of the same names are replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// All that are written.
fn all() -> Result<BTreeMap<String, Kernel>, Failure> {
    let mut kernels = BTreeMap::new();
    for case in Suite::Reference.cases() {
        kernels.extend(case.case().descriptor().kernels(&devices())?);
    }
    for case in cases::all() {
        kernels.extend(case.descriptor().kernels(&devices())?);
    }
    Ok(kernels)
}

/// Translates and writes the kernels.
pub fn run(args: ShadersArgs, global: &Global) -> Result<ExitCode, Failure> {
    let written = shaders::write(all()?, args.target, &args.out)?;
    if global.json.on_stdout() {
        terminal::print_json(&written)?;
    } else {
        terminal::print(&table(&written))?;
        terminal::print(&format!("{} kernels written to {}", written.len(), args.out.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(written: &[Written]) -> String {
    let mut table = terminal::table(&["kernel", "entry point", "bindings", "constants"]);
    for kernel in written {
        let bindings: Vec<String> =
            kernel.bindings.iter().map(|b| format!("{} {} ({})", b.binding, b.name, b.access)).collect();
        let constants: Vec<String> = kernel.constants.iter().map(|(name, value)| format!("{name}={value}")).collect();
        table.add_row(vec![
            kernel.kernel.clone(),
            kernel.entry_point.to_owned(),
            bindings.join(", "),
            constants.join(" "),
        ]);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use wgpu_norm_tools::shaders::{Translator, file_name};
    use wgpu_norm_tools::tier;

    use super::*;

    #[test]
    fn every_kernel_translates_into_every_language() {
        let (all, mut files) = (all().unwrap(), BTreeSet::new());
        for (name, kernel) in tier::some(&all) {
            let translator = Translator::new(kernel).unwrap();
            for target in Target::ALL {
                let (extension, bytes) = translator.translate(target).unwrap();
                assert!(!bytes.is_empty(), "{name}.{extension}");
            }
        }
        for name in all.keys() {
            let file = file_name(name);
            assert!(file.len() < 240, "{file} is too long for a file's name");
            assert!(files.insert(file), "{name} has the file of another");
        }
    }
}
