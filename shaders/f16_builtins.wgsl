// What WGSL's own conversions of f16 make of numbers and of halves, for device/halves.rs to look at.
@group(0) @binding(0) var<storage, read> numbers: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read> halves: array<u32>;
@group(0) @binding(2) var<storage, read_write> packed: array<u32>;
@group(0) @binding(3) var<storage, read_write> unpacked: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < arrayLength(&packed) { packed[id.x] = pack2x16float(numbers[id.x]); }
    if id.x < arrayLength(&unpacked) { unpacked[id.x] = unpack2x16float(halves[id.x]); }
}
