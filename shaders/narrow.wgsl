// Rounds a list of f32 to the type of another.
//
// bindings: parameters, numbers (read), rounded (write)

fn run(group: u32, local: u32) {
    let first = first_of(group, local);
    for (var e = 0u; e < p.each.grain; e += 1u) {
        if first + e < p.each.segments { store_rounded(first + e, load_numbers(first + e)); }
    }
}
