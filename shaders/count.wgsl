// Counts one update. A dispatch of its own, since the running update reads the counter in many workgroups.
//
// bindings: parameters, batches (read and write)

fn run(group: u32, local: u32) {
    if group * WORKGROUP + local < p.each.segments { store_batches(0u, load_batches(0u) + 1u); }
}
