
// Invocations are numbered as the workgroup numbers them; workgroups along a grid that is folded into two dimensions.
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    run(w.x + w.y * workgroups.x, local);
}
