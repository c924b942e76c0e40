// Counts one update. A dispatch of its own, since the running update reads the counter in many workgroups.
//
// bindings: params, counter (read and write)

fn run(group: u32, local: u32) {
    store_counter(0u, load_counter(0u) + 1u);
}
