// A row: a run of elements that lie side by side. Its vectors are those of memory: with HEADS the first one may begin
// before the row.
override HEADS: bool = false;
// Whether the last vector of a row may reach beyond it.
override TAILS: bool = false;
struct Row {
    first: u32,  // number of its first element in the window
    head: u32,   // elements of its first vector that are not its own
    width: u32,  // its elements; 0 where no element beside the row is ever read
}
fn row_at(first: u32, width: u32) -> Row {
    var head = 0u;
    if HEADS { head = (p.places.phase + first) & 3u; }
    return Row(first, head, width);
}
// Columns of the four elements of vector j. Those before the row are huge.
fn columns_of(row: Row, j: u32) -> vec4<u32> { return vec4(4u * j - row.head) + vec4(0u, 1u, 2u, 3u); }
fn vectors_of(row: Row) -> u32 { return (row.head + row.width + 3u) / 4u; }
// Whether what belongs to the columns of a vector is a vector too.
fn has_vectors() -> bool { return !HEADS && !TAILS; }
fn live4(row: Row, j: u32) -> vec4<bool> {
    if has_vectors() { return vec4(4u * j < row.width); }
    return columns_of(row, j) < vec4(row.width);
}
// A vector that is there: j, or the last one.
fn clamped(row: Row, j: u32) -> u32 { return min(j, vectors_of(row) - 1u); }
