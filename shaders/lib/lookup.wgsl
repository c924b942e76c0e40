// Which segment of a partition an element belongs to. All sizes at which partitions change are a chain of divisors,
// hence the segment of element j of row n: by the row, then by the column.
struct Lookup {
    outer_div: u32,
    outer_mul: u32,
    inner_div: u32,
    inner_mod: u32,
    inner_mul: u32,
    run: u32,   // elements of a run of one segment within a row
    wrap: u32,  // runs after which the segments of a row repeat
    base: u32,  // number of the first segment of the binding
}
fn lookup_row(l: Lookup, n: u32) -> u32 {
    return n / l.outer_div * l.outer_mul + n / l.inner_div % l.inner_mod * l.inner_mul - l.base;
}
