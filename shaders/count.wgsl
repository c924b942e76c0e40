// Counts one update, if running statistics took it in: a batch without an element changed nothing. A dispatch of its
// own, since the running update reads the counter in many workgroups.
//
// bindings: parameters, moments (read), batches (read and write)

fn run(group: u32, local: u32) {
    let counts = group * WORKGROUP + local < p.each.segments && load_moments(0u).w != 0.0;
    if counts { store_batches(0u, load_batches(0u) + 1u); }
}
