//! Engines by device: made once, found again at each call.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use burn::backend::DispatchDevice;
use burn::tensor::Device;
use burn::tensor::wgpu::{WgpuInitError, WgpuOptions, WgpuSetup};
use burn_cubecl::CubeDevice;
use burn_cubecl::cubecl::wgpu::{AutoCompiler, WgpuServer};
use wgpu_norm::{EngineError, Norm, NormEngine, NormEngineDescriptor, PlanError, wgpu};

use crate::plan::Planned;

/// Why a device has no engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// Burn could not make the device.
    #[error(transparent)]
    Burn(#[from] WgpuInitError),
    /// The device has no wgpu under it.
    #[error("{device} does not run on Burn's wgpu runtime: make it with wgpu_norm_burn::init")]
    NotWgpu {
        /// The device.
        device: String,
    },
    /// The setup is that of another device.
    #[error("the setup is not the one that {device} runs on: pass what init_with_setup or setup() had ({message})")]
    ForeignSetup {
        /// The device.
        device: String,
        /// What wgpu says.
        message: String,
    },
    /// The device cannot compute norms.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// An engine on Burn's device and queue, and the norms that were planned for it.
#[derive(Debug)]
pub(crate) struct Engine {
    pub engine: NormEngine,
    pub queue: wgpu::Queue,
    norms: Mutex<Vec<(Planned, Norm)>>,
}

/// As many norms are kept; an application with more shapes than that plans again, which is host work only.
const KEPT_NORMS: usize = 256;

impl Engine {
    /// The norm of a description, planned if it is not there yet.
    pub(crate) fn norm(&self, planned: &Planned) -> Result<Norm, PlanError> {
        let mut norms = self.norms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, norm)) = norms.iter().find(|(known, _)| known == planned) {
            return Ok(norm.clone());
        }
        let norm = planned.plan(&self.engine)?;
        if norms.len() == KEPT_NORMS {
            norms.remove(0);
        }
        norms.push((planned.clone(), norm.clone()));
        Ok(norm)
    }
}

type Engines = RwLock<Vec<(CubeDevice, Arc<Engine>)>>;
static ENGINES: Engines = RwLock::new(Vec::new());

/// Makes Burn's wgpu device of these options, with an engine on it: what `options.init()` does, and [`register`].
///
/// # Errors
/// [`SetupError`]; as in Burn, a device kind and graphics API can be initialized once, before anything else uses it.
pub fn init(options: WgpuOptions) -> Result<Device, SetupError> {
    let (device, setup) = options.init_with_setup()?;
    register(&device, &setup)?;
    Ok(device)
}

/// As [`init`], for browsers and async applications.
///
/// # Errors
/// As [`init`].
pub async fn init_async(options: WgpuOptions) -> Result<Device, SetupError> {
    let (device, setup) = options.init_with_setup_async().await?;
    register(&device, &setup)?;
    Ok(device)
}

/// Puts an engine on a device of Burn whose setup the application knows: from `init_with_setup`, or its own that it
/// gave to `Device::wgpu_options().setup(...)`. A second time changes nothing.
///
/// # Errors
/// [`SetupError`] where the device is not of the wgpu runtime, or the setup another's.
pub fn register(device: &Device, setup: &WgpuSetup) -> Result<(), SetupError> {
    let name = || format!("{device:?}");
    let cube = cube_device(device).ok_or_else(|| SetupError::NotWgpu { device: name() })?;
    let mut engines = ENGINES.write().unwrap_or_else(PoisonError::into_inner);
    if engines.iter().any(|(known, _)| *known == cube) {
        return Ok(());
    }
    let client = cube.client();
    let probe = client.get_resource::<WgpuServer<AutoCompiler>>(client.empty(PROBE_BYTES));
    let probe = probe.map_err(|_| SetupError::NotWgpu { device: name() })?;
    check_device(setup, &probe.resource().buffer)
        .map_err(|message| SetupError::ForeignSetup { device: name(), message })?;
    let engine = NormEngine::new(&setup.device, &NormEngineDescriptor::default())?;
    let engine = Engine { engine, queue: setup.queue.clone(), norms: Mutex::default() };
    engines.push((cube, Arc::new(engine)));
    Ok(())
}

const PROBE_BYTES: usize = 16;

/// Whether a buffer of Burn's belongs to the setup's device: wgpu refuses to bind another's.
fn check_device(setup: &WgpuSetup, buffer: &wgpu::Buffer) -> Result<(), String> {
    let scope = setup.device.push_error_scope(wgpu::ErrorFilter::Validation);
    let ty = wgpu::BindingType::Buffer {
        ty: wgpu::BufferBindingType::Storage { read_only: true },
        has_dynamic_offset: false,
        min_binding_size: None,
    };
    let entry = wgpu::BindGroupLayoutEntry { binding: 0, visibility: wgpu::ShaderStages::COMPUTE, ty, count: None };
    let layout = wgpu::BindGroupLayoutDescriptor { label: Some("wgpu-norm probe"), entries: &[entry] };
    let layout = setup.device.create_bind_group_layout(&layout);
    let entry = wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() };
    let group = wgpu::BindGroupDescriptor { label: Some("wgpu-norm probe"), layout: &layout, entries: &[entry] };
    let _ = setup.device.create_bind_group(&group);
    match burn_cubecl::cubecl::future::block_on(scope.pop()) {
        None => Ok(()),
        Some(error) => Err(error.to_string()),
    }
}

/// The engine on a device, if it was made with one.
pub(crate) fn engine(device: &CubeDevice) -> Option<Arc<Engine>> {
    let engines = ENGINES.read().unwrap_or_else(PoisonError::into_inner);
    engines.iter().find(|(known, _)| known == device).map(|(_, engine)| engine.clone())
}

/// The device under Burn's, with or without autodiff, where CubeCL runs it.
pub(crate) fn cube_device(device: &Device) -> Option<CubeDevice> {
    match device.clone().inner().as_dispatch() {
        DispatchDevice::Cube(device) => Some(device.clone()),
        #[allow(unreachable_patterns, reason = "the application may build Burn with other backends")]
        _ => None,
    }
}
