// Counts one update. For a cumulative average only one that was taken in: moments of no element change nothing. A
// dispatch of its own, since the running update reads the counter in many workgroups.
//
// bindings: parameters, [moments] (read), batches (read and write)

override EVERY: bool = true;             // whether moments of no element count too

fn run(group: u32, local: u32) {
    let counts = EVERY || load_moments(0u).w != 0.0;
    if group * WORKGROUP + local < p.each.segments && counts { store_batches(0u, load_batches(0u) + 1u); }
}
