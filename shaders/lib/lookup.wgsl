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
// By what is the same in all lanes, and often 1: a division takes 20 instructions.
fn quotient(n: u32, by: u32) -> u32 {
    if by == 1u { return n; }
    return n / by;
}
fn lookup_row(l: Lookup, n: u32) -> u32 {
    var segment = 0u - l.base;
    if l.outer_mul > 0u { segment += quotient(n, l.outer_div) * l.outer_mul; }
    if l.inner_mul > 0u { segment += quotient(n, l.inner_div) % l.inner_mod * l.inner_mul; }
    return segment;
}
