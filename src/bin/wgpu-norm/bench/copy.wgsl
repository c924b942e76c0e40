// y = x, four words an invocation: the traffic that no norm can undercut, at the rate that this adapter moves it.
//
//     bindings: 0 x, read; 1 y, written; both of the same length
//     grid:     two dimensions, as square as the limit on one asks for

override workgroup_size: u32 = 256;

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<u32>>;

@compute @workgroup_size(workgroup_size)
fn copy(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * grid.x + workgroup.x) * workgroup_size + lane;
    if i < arrayLength(&x) {
        y[i] = x[i];
    }
}
