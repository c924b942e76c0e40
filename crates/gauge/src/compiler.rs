//! The driver's compiler, through plain wgpu and the layer that writes down what it makes.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use crate::flow::Flow;
use crate::machine::{self, Line, Machine};

/// A device under the layer.
pub struct Compiler {
    pub device: wgpu::Device,
    /// The driver's name of the device.
    pub name: String,
    folder: PathBuf,
    /// Bytes of the layer's lines that were read.
    read: u64,
}

/// A kernel as a host hands it over.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    pub wgsl: &'a str,
    pub entry: &'a str,
    pub constants: &'a [(String, f64)],
}

/// Whether wgpu adds its checks of indices and loops to a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    None,
    All,
}

/// What the layer wrote so far, past the first `offset` bytes, and how long that is.
pub fn lines(folder: &std::path::Path, offset: u64) -> Result<(Vec<Line>, u64), String> {
    let path = folder.join("pipelines.jsonl");
    let mut text = String::new();
    let mut file = std::fs::File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_to_string(&mut text)).map_err(|e| e.to_string())?;
    let parse = |line: &str| serde_json::from_str(line).map_err(|error| format!("{line}: {error}"));
    Ok((text.lines().map(parse).collect::<Result<_, _>>()?, offset + text.len() as u64))
}

impl Compiler {
    /// Opens the first Vulkan adapter. `GAUGE_DIR` is the layer's folder.
    pub fn open() -> Result<Self, String> {
        let folder = std::env::var_os("GAUGE_DIR").ok_or("GAUGE_DIR is not set: start this by scripts/gauge")?.into();
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::VULKAN;
        descriptor.flags = wgpu::InstanceFlags::empty();
        let instance = wgpu::Instance::new(descriptor);
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
        let adapter = adapters.into_iter().next().ok_or("the driver offers no device")?;
        let wanted = wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16;
        let (device, _) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            required_features: adapter.features() & wanted,
            required_limits: adapter.limits(),
            ..Default::default()
        }))
        .map_err(|error| error.to_string())?;
        let info = adapter.get_info();
        let name = format!("{}, {} {}", info.name, info.driver, info.driver_info);
        Ok(Self { device, name, folder, read: 0 })
    }

    /// Compiles a kernel.
    pub fn compile(&mut self, source: Source<'_>, checks: Checks) -> Result<(Machine, Option<Flow>), String> {
        // what others have compiled on this device meanwhile
        self.read = std::fs::metadata(self.folder.join("pipelines.jsonl")).map_or(0, |file| file.len());
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let descriptor =
            wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(source.wgsl.into()) };
        let checks = match checks {
            Checks::None => wgpu::ShaderRuntimeChecks::unchecked(),
            Checks::All => wgpu::ShaderRuntimeChecks::checked(),
        };
        // SAFETY: the kernel is compiled and never runs.
        let module = unsafe { self.device.create_shader_module_trusted(descriptor, checks) };
        let constants: Vec<_> = source.constants.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let _pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some(source.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                zero_initialize_workgroup_memory: checks_zeroes(checks),
            },
            cache: None,
        });
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(error.to_string());
        }
        let (lines, _) = lines(&self.folder, self.read)?;
        match lines.last() {
            Some(Line::Pipeline(line)) => machine::read(&self.folder, line, &self.name),
            _ => Err("the layer saw no pipeline: is it loaded?".to_owned()),
        }
    }
}

/// Hosts that want checks want zeroed workgroup memory too.
fn checks_zeroes(checks: wgpu::ShaderRuntimeChecks) -> bool {
    checks.bounds_checks
}
