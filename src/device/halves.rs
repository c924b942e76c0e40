//! Whether WGSL's own conversions of f16 are exact on a device.

use wgpu::util::{BufferInitDescriptor, DeviceExt};

use super::{read_buffer_blocking, scope};
use crate::error::ReadError;

/// What the device makes of numbers and of halves.
const KERNEL: &str = "
@group(0) @binding(0) var<storage, read> numbers: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read> halves: array<u32>;
@group(0) @binding(2) var<storage, read_write> packed: array<u32>;
@group(0) @binding(3) var<storage, read_write> unpacked: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < arrayLength(&packed) { packed[id.x] = pack2x16float(numbers[id.x]); }
    if id.x < arrayLength(&unpacked) { unpacked[id.x] = unpack2x16float(halves[id.x]); }
}
";
/// Its invocations of a workgroup.
const WORKGROUP: u32 = 64;

/// f16's infinity.
const INFINITY: u16 = 0x7c00;

/// Whether WGSL's own conversions between f32 and f16 are exact on this device, as
/// [`DeviceProfile::f16_builtins`](crate::DeviceProfile::f16_builtins) takes them to be. Every half is read as its
/// number; numbers between two halves become the nearer one, or the even one of two that are as near, and infinity from
/// 65520 on; subnormal halves are kept, and NaN stays NaN. WGSL leaves all that open.
///
/// Compiles a kernel, submits it, and waits: to be asked once, when an application starts, or once a driver.
///
/// # Errors
/// [`ReadError`] where the device cannot run it, or is lost.
///
/// ```no_run
/// # use wgpu_norm::{wgpu, *};
/// # fn open(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<NormEngine, Box<dyn std::error::Error>> {
/// let f16_builtins = converts_f16_exactly(device, queue)?;
/// let profile = DeviceProfile { f16_builtins, ..DeviceProfile::new(&DeviceFacts::of(device)) };
/// Ok(NormEngine::new(device, &NormEngineDescriptor { profile: Some(profile), ..Default::default() })?)
/// # }
/// ```
pub fn converts_f16_exactly(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<bool, ReadError> {
    let numbers = hard_numbers();
    // each of them as either half of a word
    let next = |k: usize| (k + 1) % numbers.len();
    let pairs: Vec<[f32; 2]> = (0..numbers.len()).map(|k| [numbers[k].0, numbers[next(k)].0]).collect();
    let words: Vec<u32> = (0..=u16::MAX).map(|half| word([half, half.wrapping_add(1)])).collect();
    let [packed, unpacked] = convert(device, queue, bytemuck::cast_slice(&pairs), bytemuck::cast_slice(&words))?;
    let packed = bytemuck::pod_collect_to_vec::<u8, [u16; 2]>(&packed);
    let unpacked = bytemuck::pod_collect_to_vec::<u8, [f32; 2]>(&unpacked);
    let is_packed = |half: u16, expected: u16| half == expected || is_nan(half) && is_nan(expected);
    let is_unpacked = |number: f32, half: u16| {
        if is_nan(half) { number.is_nan() } else { number.to_bits() == number_of(half).to_bits() }
    };
    Ok(packed
        .iter()
        .enumerate()
        .all(|(k, [low, high])| is_packed(*low, numbers[k].1) && is_packed(*high, numbers[next(k)].1))
        && (0..=u16::MAX)
            .zip(unpacked)
            .all(|(half, [low, high])| is_unpacked(low, half) && is_unpacked(high, half.wrapping_add(1))))
}

/// What the device makes of pairs of numbers, and of words.
fn convert(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    numbers: &[u8],
    halves: &[u8],
) -> Result<[Vec<u8>; 2], ReadError> {
    let label = Some("wgpu-norm f16_builtins");
    let submit = || {
        let given = |contents| {
            device.create_buffer_init(&BufferInitDescriptor { label, contents, usage: wgpu::BufferUsages::STORAGE })
        };
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let made = |size: usize| {
            let descriptor = wgpu::BufferDescriptor { label, size: size as u64, usage, mapped_at_creation: false };
            device.create_buffer(&descriptor)
        };
        let buffers = [given(numbers), given(halves), made(numbers.len() / 2), made(2 * halves.len())];
        let source = wgpu::ShaderSource::Wgsl(KERNEL.into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label, source });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let entries: Vec<_> = (0u32..)
            .zip(&buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let layout = &pipeline.get_bind_group_layout(0);
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor { label, layout, entries: &entries });
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label });
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label, timestamp_writes: None });
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups((numbers.len() as u32 / 8).div_ceil(WORKGROUP), 1, 1);
        drop(pass);
        queue.submit([encoder.finish()]);
        buffers
    };
    let refused = |error: wgpu::Error| ReadError::Device { message: error.to_string() };
    let [_, _, packed, unpacked] = scope::catch(device, submit).map_err(refused)?;
    let read = |buffer: &wgpu::Buffer| read_buffer_blocking(device, queue, buffer, 0..buffer.size());
    Ok([read(&packed)?, read(&unpacked)?])
}

fn word([low, high]: [u16; 2]) -> u32 {
    u32::from(low) | u32::from(high) << 16
}

fn is_nan(half: u16) -> bool {
    half & 0x7fff > INFINITY
}

/// The number of a half that is none of NaN's, by its definition (IEEE 754, binary16).
fn number_of(half: u16) -> f32 {
    let (exponent, fraction) = (half >> 10 & 31, f32::from(half & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 => f32::INFINITY,
        _ => (1024.0 + fraction) * 2f32.powi(i32::from(exponent) - 25),
    };
    if half & 0x8000 == 0 { magnitude } else { -magnitude }
}

/// Numbers that are rounded wrongly where any is, and the halves that they become: all halves, what lies in the middle
/// between neighbours, and that number's own neighbours; what is too large, too small, infinite, or no number.
fn hard_numbers() -> Vec<(f32, u16)> {
    let between = |half: u16| {
        let number = number_of(half);
        // beyond the largest one half it goes on as if there were another
        let middle = number / 2.0 + if half + 1 == INFINITY { 32768.0 } else { number_of(half + 1) / 2.0 };
        [(number, half), (middle.next_down(), half), (middle, half + (half & 1)), (middle.next_up(), half + 1)]
    };
    let beyond = [1e5, f32::MAX, f32::INFINITY].map(|x| (x, INFINITY));
    let below = [1e-45, f32::MIN_POSITIVE, 1e-20].map(|x| (x, 0));
    let nan = [0x7fc0_0000, 0x7f80_0001, 0x7fff_ffff].map(|bits| (f32::from_bits(bits), INFINITY + 1));
    let all = (0..INFINITY).flat_map(between).chain(beyond).chain(below).chain(nan);
    all.flat_map(|(x, half)| [(x, half), (-x, half | 0x8000)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_numbers_become_what_rounding_makes_of_them() {
        for (x, expected) in hard_numbers() {
            let half = half::f16::from_f32(x).to_bits();
            assert!(half == expected || is_nan(half) && is_nan(expected), "{x:e}: {half:#06x}, here {expected:#06x}");
        }
        for half in (0..=u16::MAX).filter(|half| !is_nan(*half)) {
            assert_eq!(half::f16::from_bits(half).to_f32().to_bits(), number_of(half).to_bits(), "{half:#06x}");
        }
    }
}
