//! A device for tools and tests: choosing an adapter, tensors in and out, and errors in place of hangs and aborts.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wgpu_norm::wgpu;
use wgpu_norm::{
    BindError, BoundNorm, Element, NormEngine, NormEngineDescriptor, ProfileMismatch, TensorView, TunedProfile,
};

use crate::failure::Failure;
use crate::files::zeroed;
use crate::{elements, terminal};

/// Bytes copied to or from the device at a time, so that a large tensor has no second copy in staging memory.
const CHUNK: usize = 32 << 20;
/// A device that needs longer for one submission hangs.
const DEADLINE: Duration = Duration::from_secs(600);
/// How often a waiting program looks whether the device is lost.
const TICK: Duration = Duration::from_secs(1);
/// A value that hardly a norm writes: what guard bands hold, and what poisoned memory holds before it is written. All
/// element types have it.
pub const POISON: f32 = -55_040.0;

/// Options that say on which device, and how it is seen.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DeviceArgs {
    /// Adapter to run on: its number in `wgpu-norm adapters` or a part of its name [default: the best].
    #[arg(long, global = true, value_name = "NAME|NUMBER")]
    pub adapter: Option<String>,
    /// Choose kernels by a profile that `bench --tune` wrote; ignored with a remark on another adapter, driver or
    /// version.
    #[arg(long, global = true, value_name = "FILE")]
    pub profile: Option<PathBuf>,
}

/// Turns Mesa's device-selection layer off. That layer asks the desktop which GPU it runs on, and where there is no
/// desktop session it complains on standard error before anything else is said.
pub const NO_SELECTION: &str = "NODEVICE_SELECT";

/// Whether the layer has nothing to ask and was not asked for anything.
pub fn is_selection_idle() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let session = std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|folder| Path::new(&folder).is_absolute());
    !session && ![NO_SELECTION, "MESA_VK_DEVICE_SELECT", "DRI_PRIME"].into_iter().any(set)
}

/// What a device is opened with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LimitsOf {
    /// All that the engine can use of what the adapter has.
    #[default]
    Adapter,
    /// WebGPU's default limits and no feature.
    Defaults,
    /// `wgpu::Limits::downlevel_defaults`, with four storage buffers a stage, and no feature.
    Downlevel,
}

impl LimitsOf {
    /// Whether norms may need more storage buffers than there are.
    pub fn are_few(self) -> bool {
        self == Self::Downlevel
    }

    /// Whether an error says that a stage has too few storage buffers.
    pub fn is_of_buffers(error: &BindError) -> bool {
        matches!(error, BindError::Limit { limit: "max_storage_buffers_per_shader_stage", .. })
    }
}

/// All adapters, the best first.
pub fn adapters() -> Vec<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    adapters.retain(|adapter| adapter.get_info().backend != wgpu::Backend::Noop);
    // Stable: the order of the system decides between equals.
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    adapters
}

/// The adapter that `wanted` names by number or by a part of its name; the best where nothing is wanted; `None` where
/// there is no adapter at all.
pub fn adapter(wanted: Option<&str>) -> Result<Option<wgpu::Adapter>, Failure> {
    let adapters = adapters();
    let at = wanted.map_or(Ok(0), |wanted| find(&adapters, wanted))?;
    Ok(adapters.into_iter().nth(at))
}

/// Number of the adapter that `wanted` names.
pub fn find(adapters: &[wgpu::Adapter], wanted: &str) -> Result<usize, Failure> {
    let names: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
    position(&names, wanted).ok_or_else(|| {
        let listed: Vec<String> = names.iter().enumerate().map(|(i, name)| format!("{i}: {name}")).collect();
        let available = if listed.is_empty() { "none".to_owned() } else { listed.join(", ") };
        Failure::UnknownAdapter { wanted: wanted.to_owned(), available }
    })
}

fn position(names: &[String], wanted: &str) -> Option<usize> {
    let number = wanted.parse().ok().filter(|&number: &usize| number < names.len());
    let part = wanted.to_lowercase();
    // An empty part is in every name.
    number.or_else(|| names.iter().position(|name| !part.is_empty() && name.to_lowercase().contains(&part)))
}

/// A device with its engine.
pub struct Gpu {
    /// Its adapter.
    pub info: wgpu::AdapterInfo,
    /// The device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
    /// The engine on it.
    pub engine: NormEngine,
    /// The first error that nobody was there to take: lost, out of memory, validation.
    fault: Arc<Mutex<Option<String>>>,
    /// Whether new memory is filled with [`POISON`].
    poisons: bool,
}

impl Gpu {
    /// Opens the adapter that is `wanted`, or the best; `None` where there is no adapter at all.
    pub fn open(wanted: &DeviceArgs) -> Result<Option<Self>, Failure> {
        let Some(adapter) = adapter(wanted.adapter.as_deref())? else { return Ok(None) };
        let mut gpu = Self::from_adapter(&adapter)?;
        if let Some(path) = &wanted.profile {
            gpu.follow(path)?;
        }
        Ok(Some(gpu))
    }

    /// Sees the device as a file says, where that was measured on it.
    fn follow(&mut self, path: &Path) -> Result<(), Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, error))?;
        let fits = TunedProfile::from_json(&text)
            .and_then(|tuned| tuned.fits(&self.info, self.engine.planner().facts()))
            .and_then(|profile| self.engine.with_profile(profile));
        match fits {
            Ok(engine) => self.engine = engine,
            Err(error @ ProfileMismatch::Unreadable { .. }) => {
                return Err(Failure::Usage(format!("{}: {error}", path.display())));
            }
            Err(mismatch) => terminal::note(&format!("{} is ignored: {mismatch}", path.display())),
        }
        Ok(())
    }

    /// As [`Gpu::open`]; no adapter is an error with `advice`.
    pub fn require(wanted: &DeviceArgs, advice: &'static str) -> Result<Self, Failure> {
        Self::open(wanted)?.ok_or(Failure::NoAdapter(advice))
    }

    /// A device with these limits, or the adapter's where those are worse.
    pub fn limited(adapter: &wgpu::Adapter, limits: LimitsOf) -> Result<Self, Failure> {
        let limits = match limits {
            LimitsOf::Adapter => return Self::from_adapter(adapter),
            LimitsOf::Defaults => wgpu::Limits::default(),
            LimitsOf::Downlevel => wgpu::Limits::downlevel_defaults(),
        };
        Self::with(adapter, wgpu::Features::empty(), limits.or_worse_values_from(&adapter.limits()))
    }

    /// A device with all that the engine can use.
    pub fn from_adapter(adapter: &wgpu::Adapter) -> Result<Self, Failure> {
        let features = NormEngine::required_features(adapter) | timestamps(adapter);
        Self::with(adapter, features, NormEngine::required_limits(adapter))
    }

    /// A device with these features and limits.
    pub fn with(
        adapter: &wgpu::Adapter,
        required_features: wgpu::Features,
        required_limits: wgpu::Limits,
    ) -> Result<Self, Failure> {
        let info = adapter.get_info();
        let label = Some("wgpu-norm");
        let descriptor =
            wgpu::DeviceDescriptor { label, required_features, required_limits, ..wgpu::DeviceDescriptor::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|error| Failure::RequestDevice { adapter: info.name.clone(), message: error.to_string() })?;
        let fault = Arc::new(Mutex::new(None));
        let keep = |fault: &Arc<Mutex<Option<String>>>| {
            let fault = fault.clone();
            move |message: String| {
                fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
            }
        };
        // wgpu's own handler would end the program with a panic.
        let uncaptured = keep(&fault);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| uncaptured(error.to_string())));
        let lost = keep(&fault);
        device.set_device_lost_callback(move |reason, message| lost(format!("lost ({reason:?}): {message}")));
        let engine = NormEngine::new(&device, &NormEngineDescriptor::default())?;
        Ok(Self { info, device, queue, engine, fault, poisons: false })
    }

    /// Fills all memory with [`POISON`] from now on: what a kernel reads without having written it is seen, and so is
    /// what it leaves out.
    pub fn poisoning(self) -> Self {
        Self { poisons: true, ..self }
    }

    /// One line that says where the work runs.
    pub fn describe(&self) -> String {
        describe(&self.info)
    }

    /// The error that the device reported, if it did.
    pub fn healthy(&self) -> Result<(), Failure> {
        match self.fault.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(message) => Err(self.failure(message.clone())),
            None => Ok(()),
        }
    }

    fn failure(&self, message: String) -> Failure {
        Failure::Device { adapter: self.info.name.clone(), message }
    }

    /// A buffer of `bytes` for any operand of f32.
    pub fn buffer(&self, what: &str, bytes: u64) -> Result<wgpu::Buffer, Failure> {
        self.buffer_of(what, Element::F32, bytes)
    }

    fn buffer_of(&self, what: &str, element: Element, bytes: u64) -> Result<wgpu::Buffer, Failure> {
        let buffer = self.allocate(what, bytes)?;
        if self.poisons {
            let poison = vec![POISON; (buffer.size() / element.bytes()) as usize];
            self.write(&buffer, 0, &elements::encode(&poison, element))?;
        }
        Ok(buffer)
    }

    /// Refuses a tensor that is larger than any buffer: asked before it is read.
    pub fn check_size(&self, what: &str, bytes: u64) -> Result<(), Failure> {
        let available = self.device.limits().max_buffer_size;
        if bytes <= available {
            return Ok(());
        }
        let (what, adapter) = (what.to_owned(), self.info.name.clone());
        Err(Failure::BufferSize { what, needed: bytes, available, adapter })
    }

    fn allocate(&self, what: &str, bytes: u64) -> Result<wgpu::Buffer, Failure> {
        self.check_size(what, bytes)?;
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(what),
            // A view of a tensor without elements still names a buffer.
            size: bytes.max(16).next_multiple_of(4),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.healthy().map(|()| buffer)
    }

    /// Copies `data` into a tensor. Its guard bands are whole words of memory, four bytes each.
    pub fn fill(&self, tensor: &Tensor, data: &[f32]) -> Result<(), Failure> {
        self.write(&tensor.buffer, tensor.byte(0), &words(data, tensor.element))
    }

    /// Fills tensors with `block` again and again: it is uploaded once a type, and copied on the device. As for
    /// [`Gpu::fill`], a tensor with guard bands is whole words.
    pub fn tile<'a>(&self, tensors: impl IntoIterator<Item = &'a Tensor>, block: &[f32]) -> Result<(), Failure> {
        let mut blocks = HashMap::new();
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for tensor in tensors {
            let &Tensor { element, len, .. } = tensor;
            // those that need no copies take none
            if len <= block.len() as u64 {
                self.fill(tensor, &block[..len as usize])?;
                continue;
            }
            let block = match blocks.entry(element) {
                Entry::Occupied(block) => block.into_mut(),
                // so often that it is whole words
                Entry::Vacant(place) => {
                    place.insert(self.upload_of("block", element, &block.repeat(element.grain() as usize))?)
                }
            };
            for first in (0..len).step_by(block.len.max(1) as usize) {
                let bytes = (element.bytes() * block.len.min(len - first)).next_multiple_of(4);
                encoder.copy_buffer_to_buffer(&block.buffer, 0, &tensor.buffer, tensor.byte(first), bytes);
            }
        }
        if blocks.is_empty() { Ok(()) } else { self.finish(encoder).map(|_| ()) }
    }

    /// Copies `bytes` to a place in a buffer, a part at a time: staging memory does not pile up.
    fn write(&self, buffer: &wgpu::Buffer, first: u64, bytes: &[u8]) -> Result<(), Failure> {
        let bar = terminal::progress("upload", bytes.len() as u64, true);
        for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
            self.queue.write_buffer(buffer, first + (index * CHUNK) as u64, chunk);
            if bytes.len() > CHUNK {
                self.wait(self.queue.submit([]))?;
            }
            bar.inc(chunk.len() as u64);
        }
        bar.finish_and_clear();
        // a lost device says so when it is polled
        self.device.poll(wgpu::PollType::Poll).map_err(|error| self.failure(error.to_string()))?;
        self.healthy()
    }

    /// Copies `data` into a new tensor of f32.
    pub fn upload(&self, what: &str, data: &[f32]) -> Result<Tensor, Failure> {
        self.upload_of(what, Element::F32, data)
    }

    /// Copies `data` into a new tensor of a type.
    pub fn upload_of(&self, what: &str, element: Element, data: &[f32]) -> Result<Tensor, Failure> {
        let bytes = words(data, element);
        let buffer = self.allocate(what, bytes.len() as u64)?;
        self.write(&buffer, 0, &bytes)?;
        Ok(Tensor { buffer, element, guard: 0, len: data.len() as u64 })
    }

    /// As [`Gpu::upload_of`], between two bands of `guard` elements of [`POISON`].
    pub fn upload_guarded(&self, what: &str, element: Element, data: &[f32], guard: u64) -> Result<Tensor, Failure> {
        let band = vec![POISON; guard as usize];
        let all = self.upload_of(what, element, &[band.as_slice(), data, &band].concat())?;
        Ok(Tensor { guard, len: data.len() as u64, ..all })
    }

    /// A new tensor of `len` elements, [`POISON`] all of it where it has guard bands.
    pub fn guarded(&self, what: &str, element: Element, len: u64, guard: u64) -> Result<Tensor, Failure> {
        match guard {
            0 => self.tensor_of(what, element, len),
            _ => self.upload_guarded(what, element, &vec![POISON; len as usize], guard),
        }
    }

    /// A new tensor of `len` elements of f32.
    pub fn tensor(&self, what: &str, len: u64) -> Result<Tensor, Failure> {
        self.tensor_of(what, Element::F32, len)
    }

    /// A new tensor of `len` elements of a type.
    pub fn tensor_of(&self, what: &str, element: Element, len: u64) -> Result<Tensor, Failure> {
        let buffer = self.buffer_of(what, element, len.saturating_mul(element.bytes()))?;
        Ok(Tensor { buffer, element, guard: 0, len })
    }

    /// A counter.
    pub fn counter(&self, value: u32) -> Result<wgpu::Buffer, Failure> {
        let buffer = self.allocate("counter", 4)?;
        self.write(&buffer, 0, bytemuck::bytes_of(&value))?;
        Ok(buffer)
    }

    /// Runs bound norms in one pass and waits for them.
    pub fn run_all<'a>(&self, work: impl IntoIterator<Item = &'a BoundNorm>) -> Result<Duration, Failure> {
        self.run(|pass| work.into_iter().for_each(|bound| bound.record(pass)))
    }

    /// Runs what `record` records in one pass, waits for it, and gives the time that took.
    pub fn run(&self, record: impl FnOnce(&mut wgpu::ComputePass<'_>)) -> Result<Duration, Failure> {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        record(&mut pass);
        drop(pass);
        self.finish(encoder)
    }

    /// Runs what has been encoded, waits for it, and gives the time that took.
    pub fn finish(&self, encoder: wgpu::CommandEncoder) -> Result<Duration, Failure> {
        let commands = encoder.finish();
        self.healthy()?;
        let start = Instant::now();
        self.wait(self.queue.submit([commands]))?;
        Ok(start.elapsed())
    }

    /// Fills a tensor with 0, before the next run.
    pub fn clear(&self, tensor: &Tensor) {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.clear_buffer(&tensor.buffer, 0, None);
        self.queue.submit([encoder.finish()]);
    }

    fn wait(&self, submission: wgpu::SubmissionIndex) -> Result<(), Failure> {
        let start = Instant::now();
        loop {
            let wait = wgpu::PollType::Wait { submission_index: Some(submission.clone()), timeout: Some(TICK) };
            let result = self.device.poll(wait);
            self.healthy()?;
            match result {
                Ok(_) => return Ok(()),
                Err(wgpu::PollError::Timeout) if start.elapsed() < DEADLINE => {}
                Err(wgpu::PollError::Timeout) => {
                    return Err(self.failure(format!("no answer within {} s", DEADLINE.as_secs())));
                }
                Err(error) => return Err(self.failure(error.to_string())),
            }
        }
    }

    /// Copies a tensor back.
    pub fn download(&self, tensor: &Tensor) -> Result<Vec<f32>, Failure> {
        self.read_tensor(tensor, tensor.guard, tensor.len)
    }

    /// Copies a tensor back with its guard bands.
    pub fn download_guarded(&self, tensor: &Tensor) -> Result<Vec<f32>, Failure> {
        self.read_tensor(tensor, 0, tensor.len + 2 * tensor.guard)
    }

    /// `len` elements from element `first` of the buffer on.
    fn read_tensor(
        &self,
        &Tensor { ref buffer, element, .. }: &Tensor,
        first: u64,
        len: u64,
    ) -> Result<Vec<f32>, Failure> {
        let bytes = first * element.bytes()..(first + len) * element.bytes();
        let word = bytes.start / 4;
        let words = self.read(buffer, word, bytes.end.div_ceil(4) - word)?;
        if element == Element::F32 {
            return Ok(words);
        }
        let range = (bytes.start - 4 * word) as usize..(bytes.end - 4 * word) as usize;
        Ok(elements::decode(&bytemuck::cast_slice(&words)[range], element))
    }

    /// The value of a counter.
    pub fn download_counter(&self, counter: &wgpu::Buffer) -> Result<u32, Failure> {
        Ok(self.read(counter, 0, 1)?.first().map_or(0, |value| value.to_bits()))
    }

    /// `len` words from word `first` on.
    fn read(&self, buffer: &wgpu::Buffer, first: u64, len: u64) -> Result<Vec<f32>, Failure> {
        let mut data = zeroed(len as usize, "the result")?;
        let bar = terminal::progress("download", len * 4, true);
        let mut offset = first * 4;
        for chunk in bytemuck::cast_slice_mut::<f32, u8>(&mut data).chunks_mut(CHUNK) {
            let end = offset + chunk.len() as u64;
            let bytes = wgpu_norm::read_buffer_blocking(&self.device, &self.queue, buffer, offset..end);
            // The device's own words say more than the failed read that follows from them.
            self.healthy()?;
            chunk.copy_from_slice(&bytes?);
            offset = end;
            bar.inc(chunk.len() as u64);
        }
        bar.finish_and_clear();
        Ok(data)
    }
}

/// The bytes of `data` in whole words, as they are written: behind an odd number of 16-bit elements stands [`POISON`].
fn words(data: &[f32], element: Element) -> Cow<'_, [u8]> {
    let mut bytes = elements::encode(data, element);
    if !bytes.len().is_multiple_of(4) {
        bytes.to_mut().extend_from_slice(&elements::encode(&[POISON], element));
    }
    bytes
}

/// The feature with which `bench` measures, where the adapter has it.
fn timestamps(adapter: &wgpu::Adapter) -> wgpu::Features {
    adapter.features() & wgpu::Features::TIMESTAMP_QUERY
}

/// A view of a tensor on a device.
pub type View<'a> = TensorView<&'a wgpu::Buffer>;

/// A tensor on the device, in a buffer of its own, perhaps between guard bands.
pub struct Tensor {
    /// The buffer.
    pub buffer: wgpu::Buffer,
    /// Its element type.
    pub element: Element,
    /// Elements before it and behind it.
    pub guard: u64,
    /// Number of elements.
    pub len: u64,
}

impl Tensor {
    /// All of it.
    pub fn view(&self) -> View<'_> {
        self.part(0, self.len)
    }

    /// `len` elements from element `first` on.
    pub fn part(&self, first: u64, len: u64) -> View<'_> {
        TensorView::new(&self.buffer, self.byte(first), len).of(self.element)
    }

    /// Where element `first` starts in the buffer.
    fn byte(&self, first: u64) -> u64 {
        (self.guard + first) * self.element.bytes()
    }
}

/// Name, backend and type of an adapter.
pub fn describe(info: &wgpu::AdapterInfo) -> String {
    format!("{} ({}, {})", info.name, info.backend, type_name(info.device_type))
}

/// Type of an adapter in a word.
pub fn type_name(device_type: wgpu::DeviceType) -> &'static str {
    match device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete",
        wgpu::DeviceType::IntegratedGpu => "integrated",
        wgpu::DeviceType::VirtualGpu => "virtual",
        wgpu::DeviceType::Cpu => "software",
        wgpu::DeviceType::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_are_named_by_number_or_part() {
        let names = ["NVIDIA H200".to_owned(), "llvmpipe (LLVM 15)".to_owned()];
        for (wanted, expected) in [
            ("0", Some(0)),
            ("1", Some(1)),
            ("LLVM", Some(1)),
            ("h200", Some(0)),
            ("200", Some(0)),
            ("7", None),
            ("", None),
        ] {
            assert_eq!(position(&names, wanted), expected, "{wanted}");
        }
    }

    const TYPES: [Element; 3] = [Element::F32, Element::F16, Element::Bf16];

    #[test]
    fn tensors_repeat_a_block_to_their_end() {
        let gpu = Gpu::require(&DeviceArgs::default(), "this test needs one").unwrap();
        let block = [1.0, 2.0, 3.0];
        let repeated = [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0];
        let tensors = TYPES.map(|element| [2, 8].map(|len| gpu.guarded("x", element, len, 2).unwrap()));
        let bare = TYPES.map(|element| [3, 7].map(|len| gpu.tensor_of("x", element, len).unwrap()));
        gpu.tile(tensors.iter().chain(&bare).flatten(), &block).unwrap();
        for tensor in tensors.iter().chain(&bare).flatten() {
            let band = vec![POISON; tensor.guard as usize];
            let expected = [&band, &repeated[..tensor.len as usize], &band].concat();
            assert_eq!(gpu.download_guarded(tensor).unwrap(), expected, "{} {}", tensor.element, tensor.len);
        }
    }

    #[test]
    fn tensors_of_all_types_come_back_from_any_place() {
        let gpu = Gpu::require(&DeviceArgs::default(), "this test needs one").unwrap().poisoning();
        let data: Vec<f32> = (0..101).map(|i| i as f32).collect();
        for element in TYPES {
            for (guard, len) in [(0, 101), (1, 101), (2, 100), (3, 100)] {
                let tensor = gpu.upload_guarded("x", element, &data[..len], guard).unwrap();
                assert_eq!(gpu.download(&tensor).unwrap(), data[..len], "{element} {guard}");
                assert_eq!(
                    gpu.download_guarded(&tensor).unwrap()[len + guard as usize..],
                    vec![POISON; guard as usize]
                );
            }
            assert_eq!(gpu.download(&gpu.tensor_of("x", element, 3).unwrap()).unwrap(), [POISON; 3]);
        }
    }

    #[test]
    fn a_tensor_comes_back_and_a_lost_device_is_an_error() {
        let gpu = Gpu::require(&DeviceArgs::default(), "this test needs one").unwrap();
        let data: Vec<f32> = (0..1001).map(|i| i as f32).collect();
        let operand = gpu.upload("x", &data).unwrap();
        assert_eq!(gpu.download(&operand).unwrap(), data);
        assert!(gpu.download(&gpu.upload("empty", &[]).unwrap()).unwrap().is_empty());
        let error = gpu.buffer("x", u64::MAX / 2).unwrap_err();
        assert!(error.to_string().contains("max_buffer_size"), "{error}");
        gpu.device.destroy();
        assert!(matches!(gpu.upload("x", &data), Err(Failure::Device { .. })));
        assert!(matches!(gpu.download(&operand), Err(Failure::Device { .. })));
    }
}
