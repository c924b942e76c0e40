
// Invocations are numbered along their subgroups, which need not follow the workgroup's own numbers.

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_size) subgroup_size: u32,
    @builtin(subgroup_invocation_id) invocation: u32,
) {
    run(workgroup_index(workgroup, workgroups), subgroup * subgroup_size + invocation);
}
