// The traffic that no norm can undercut, at the rate that this adapter moves it:
//
//     copy       c = a            one read, one write
//     triad      c = a + 0.5 b    two reads, one write
//     read_only  c = sums of a    reads; one number an invocation is written, so that the reads are needed
//
//     bindings: 0 a, read; 1 b, read; 2 c, written; all of the same length, but the sums
//     grid:     two dimensions, as square as the limit on one asks for

override workgroup_size: u32 = 256;
// words of 16 bytes that an invocation of read_only adds up
const SUMMED: u32 = 16;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> c: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(workgroup_size)
fn copy(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * grid.x + workgroup.x) * workgroup_size + lane;
    if i < arrayLength(&a) {
        c[i] = a[i];
    }
}

@compute @workgroup_size(workgroup_size)
fn triad(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * grid.x + workgroup.x) * workgroup_size + lane;
    if i < arrayLength(&a) {
        c[i] = a[i] + 0.5 * b[i];
    }
}

// 0 beyond the end
fn word(i: u32) -> vec4<f32> {
    if i < arrayLength(&a) {
        return a[i];
    }
    return vec4<f32>(0.0);
}

fn four(i: u32) -> vec4<f32> {
    return word(i) + word(i + workgroup_size) + word(i + 2u * workgroup_size) + word(i + 3u * workgroup_size);
}

@compute @workgroup_size(workgroup_size)
fn read_only(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.y * grid.x + workgroup.x;
    let start = index * workgroup_size * SUMMED + lane;
    let stride = 4u * workgroup_size;
    let sum = four(start) + four(start + stride) + four(start + 2u * stride) + four(start + 3u * stride);
    let place = index * workgroup_size + lane;
    if place < arrayLength(&sums) {
        sums[place] = sum.x + sum.y + sum.z + sum.w;
    }
}
