//! `wgpu-norm shaders`: the kernels that norms need, as WGSL, SPIR-V, MSL or HLSL, with their bindings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use naga::back::{self, hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ResourceBinding, ShaderStage};
use serde::Serialize;
use wgpu_norm::Kernel;
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::outline::devices;
use wgpu_norm_tools::output::write_bytes;
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

#[derive(Clone, Copy, clap::ValueEnum)]
enum Target {
    /// As the engine hands it to wgpu, overrides still open.
    Wgsl,
    /// SPIR-V 1.3, binary.
    Spirv,
    /// Metal Shading Language 2.4.
    Msl,
    /// HLSL for shader model 6.2.
    Hlsl,
}

#[derive(Serialize)]
struct Written {
    kernel: String,
    file: String,
    entry_point: &'static str,
    bindings: Vec<Binding>,
    constants: Vec<(&'static str, f64)>,
}

#[derive(Serialize)]
struct Binding {
    binding: u32,
    name: String,
    access: &'static str,
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

/// The storage bindings, after the parameters at 0.
fn bindings(kernel: &Kernel) -> Vec<Binding> {
    let access = |writes| if writes { "read_write" } else { "read" };
    let storage = kernel.binding_names().zip(kernel.bindings()).zip(1..);
    let storage = storage.map(|((name, writes), binding)| Binding { binding, name, access: access(writes) });
    [Binding { binding: 0, name: "parameters".to_owned(), access: "uniform" }].into_iter().chain(storage).collect()
}

/// Translates and writes the kernels.
pub fn run(args: ShadersArgs, global: &Global) -> Result<ExitCode, Failure> {
    std::fs::create_dir_all(&args.out).map_err(|error| Failure::file(&args.out, error))?;
    let mut written = Vec::new();
    for (name, kernel) in all()? {
        let (extension, bytes) =
            translate(&kernel, args.target).map_err(|message| Failure::Shader { kernel: name.clone(), message })?;
        let file = format!("{}.{extension}", file_name(&name));
        write_bytes(&args.out.join(&file), &bytes, true)?;
        let (entry_point, constants) = (kernel.entry_point(), kernel.constants());
        written.push(Written { bindings: bindings(&kernel), kernel: name, file, entry_point, constants });
    }
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

/// Letters, digits and `-_.=+!` of a kernel's name; a long one is cut, since file systems take 255 bytes, and ends in
/// a number of its own.
pub fn file_name(kernel: &str) -> String {
    const LONGEST: usize = 200;
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.=+!".contains(c) { c } else { '_' };
    if kernel.len() <= LONGEST {
        return kernel.chars().map(safe).collect();
    }
    // FNV-1a
    let number =
        kernel.bytes().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    kernel.chars().take(LONGEST).map(safe).chain(format!("-{number:016x}").chars()).collect()
}

/// File extension and contents of a kernel in the target language.
fn translate(kernel: &Kernel, target: Target) -> Result<(&'static str, Vec<u8>), String> {
    let source = kernel.source();
    let module = naga::front::wgsl::parse_str(&source)
        .map_err(|error| error.emit_to_string_with_path(&source, &kernel.to_string()))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .map_err(|error| error.emit_to_string(&source))?;
    let constants = kernel.constants().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let entry_point = (ShaderStage::Compute, kernel.entry_point());
    let (module, info) = back::pipeline_constants::process_overrides(&module, &info, Some(entry_point), &constants)
        .map_err(|error| error.to_string())?;
    match target {
        // Names, comments and overrides stay as they are; what is above has proved it sound.
        Target::Wgsl => Ok(("wgsl", source.into_bytes())),
        Target::Spirv => Ok(("spv", spirv(kernel, &module, &info)?)),
        Target::Msl => Ok(("metal", metal(kernel, &module, &info)?.into_bytes())),
        Target::Hlsl => Ok(("hlsl", high_level(kernel, &module, &info)?.into_bytes())),
    }
}

fn spirv(kernel: &Kernel, module: &Module, info: &ModuleInfo) -> Result<Vec<u8>, String> {
    // 1.3 is the first with subgroup operations.
    let options = spv::Options { lang_version: (1, 3), ..Default::default() };
    let pipeline =
        spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: kernel.entry_point().to_owned() };
    let words = spv::write_vec(module, info, &options, Some(&pipeline)).map_err(|error| error.to_string())?;
    Ok(words.iter().flat_map(|word| word.to_le_bytes()).collect())
}

fn metal(kernel: &Kernel, module: &Module, info: &ModuleInfo) -> Result<String, String> {
    // Slots as wgpu numbers them: the bindings in order, then the sizes of the runtime-sized arrays.
    let bindings = bindings(kernel);
    let resources = bindings.iter().zip(0..).map(|(b, slot)| {
        let target = msl::BindTarget { buffer: Some(slot), mutable: b.access == "read_write", ..Default::default() };
        (ResourceBinding { group: 0, binding: b.binding }, target)
    });
    let resources = msl::EntryPointResources {
        resources: resources.collect(),
        sizes_buffer: Some(bindings.len() as u8),
        ..Default::default()
    };
    let options = msl::Options {
        lang_version: (2, 4),
        per_entry_point_map: [(kernel.entry_point().to_owned(), resources)].into(),
        fake_missing_bindings: false,
        ..Default::default()
    };
    let pipeline = msl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, kernel.entry_point().to_owned())),
        ..Default::default()
    };
    msl::write_string(module, info, &options, &pipeline).map(|(text, _)| text).map_err(|error| error.to_string())
}

fn high_level(kernel: &Kernel, module: &Module, info: &ModuleInfo) -> Result<String, String> {
    let options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_2, ..Default::default() };
    let pipeline = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, kernel.entry_point().to_owned())) };
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &options, &pipeline).write(module, info, None).map_err(|error| error.to_string())?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kernel_translates_into_every_language() {
        let mut files = BTreeSet::new();
        for (name, kernel) in all().unwrap() {
            for target in [Target::Wgsl, Target::Spirv, Target::Msl, Target::Hlsl] {
                let (extension, bytes) = translate(&kernel, target).unwrap();
                assert!(!bytes.is_empty(), "{name}.{extension}");
            }
            let file = file_name(&name);
            assert!(file.len() < 240, "{file} is too long for a file's name");
            assert!(files.insert(file), "{name} has the file of another");
        }
    }
}
