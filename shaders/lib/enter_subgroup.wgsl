
// Invocations are numbered along their subgroups, workgroups along a grid that is folded into two dimensions.
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>,
        @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_size) subgroup_size: u32,
        @builtin(subgroup_invocation_id) invocation: u32) {
    run(w.x + w.y * workgroups.x, subgroup * subgroup_size + invocation);
}
