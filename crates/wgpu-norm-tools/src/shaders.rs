//! Kernels as WGSL, SPIR-V, MSL or HLSL, with their bindings.

use std::collections::BTreeMap;
use std::path::Path;

use naga::back::{self, hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ResourceBinding, ShaderStage};
use serde::Serialize;
use wgpu_norm::Kernel;

use crate::failure::Failure;
use crate::output::write_bytes;

/// A language of shaders.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Target {
    /// As the engine hands it to wgpu, overrides still open.
    Wgsl,
    /// SPIR-V 1.3, binary.
    Spirv,
    /// Metal Shading Language 2.4.
    Msl,
    /// HLSL for shader model 6.2.
    Hlsl,
}

impl Target {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Wgsl, Self::Spirv, Self::Msl, Self::Hlsl];
}

/// A kernel that was written to a file.
#[derive(Debug, Serialize)]
pub struct Written {
    /// The kernel's name.
    pub kernel: String,
    /// The file's name in its folder.
    pub file: String,
    /// Name of the entry point.
    pub entry_point: &'static str,
    /// The parameters and the storage bindings.
    pub bindings: Vec<Binding>,
    /// Pipeline constants: open in WGSL, folded in elsewhere.
    pub constants: Vec<(&'static str, f64)>,
}

/// A binding of group 0.
#[derive(Debug, Serialize)]
pub struct Binding {
    /// Its number.
    pub binding: u32,
    /// What is bound.
    pub name: String,
    /// `uniform`, `read` or `read_write`.
    pub access: &'static str,
}

/// Writes kernels to a folder, which is made where it is missing; files of the same names are replaced.
pub fn write(kernels: BTreeMap<String, Kernel>, target: Target, folder: &Path) -> Result<Vec<Written>, Failure> {
    std::fs::create_dir_all(folder).map_err(|error| Failure::file(folder, error))?;
    let mut written = Vec::new();
    for (name, kernel) in kernels {
        let translated = Translator::new(&kernel).and_then(|kernel| kernel.translate(target));
        let (extension, bytes) = translated.map_err(|message| Failure::Shader { kernel: name.clone(), message })?;
        let file = format!("{}.{extension}", file_name(&name));
        write_bytes(&folder.join(&file), &bytes, true)?;
        let (entry_point, constants) = (kernel.entry_point(), kernel.constants());
        written.push(Written { bindings: bindings(&kernel), kernel: name, file, entry_point, constants });
    }
    Ok(written)
}

/// The storage bindings, after the parameters at 0.
fn bindings(kernel: &Kernel) -> Vec<Binding> {
    let access = |writes| if writes { "read_write" } else { "read" };
    let storage = kernel.binding_names().zip(kernel.bindings()).zip(1..);
    let storage = storage.map(|((name, writes), binding)| Binding { binding, name, access: access(writes) });
    [Binding { binding: 0, name: "parameters".to_owned(), access: "uniform" }].into_iter().chain(storage).collect()
}

/// The name of a kernel's file, without an extension: letters, digits and `-_.=+!` of its name; a long one is cut,
/// since file systems take 255 bytes, and ends in a number of its own.
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

/// A kernel that naga has read, with its constants folded in.
pub struct Translator<'k> {
    kernel: &'k Kernel,
    source: String,
    module: Module,
    info: ModuleInfo,
}

impl<'k> Translator<'k> {
    /// Naga's words where its validator does not pass the kernel.
    pub fn new(kernel: &'k Kernel) -> Result<Self, String> {
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
        let (module, info) = (module.into_owned(), info.into_owned());
        Ok(Self { kernel, source, module, info })
    }

    /// File extension and contents in a language.
    pub fn translate(&self, target: Target) -> Result<(&'static str, Vec<u8>), String> {
        let Self { kernel, source, module, info } = self;
        match target {
            // Names, comments and overrides stay as they are; what has been read has proved it sound.
            Target::Wgsl => Ok(("wgsl", source.clone().into_bytes())),
            Target::Spirv => Ok(("spv", spirv(kernel, module, info)?)),
            Target::Msl => Ok(("metal", metal(kernel, module, info)?.into_bytes())),
            Target::Hlsl => Ok(("hlsl", high_level(kernel, module, info)?.into_bytes())),
        }
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
