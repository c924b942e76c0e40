// Columns of rows of memory lie far apart, and no processor expects them. So a workgroup first reads what it will walk in the order in which
// it lies there, an element of every line of the cache, and then finds it near.

// Elements of a line, or of several.
const LINE = 16u;

// Of `wide` elements from `first` on, and as many in each of the next rows of `columns` elements. Returns 0, which no compiler knows.
fn touch(first: u32, wide: u32, rows: u32, columns: u32, local: u32) -> u32 {
    var seen = 0u;
    for (var row = 0u; row < rows; row += 1u) {
        for (var column = LINE * local; column < wide; column += LINE * WORKGROUP_SIZE) {
            seen |= touched(first + row * columns + column);
        }
    }
    return seen & params.zero;
}
