// A row whose elements are read and written one by one, so that neighbouring lanes take neighbours: element e of vector
// j = lane + k * STEP is the row's element lane + (4 * k + e) * STEP. No vector of memory is needed, hence any width at
// any place. Where GRAIN is 2 they take two, the halves of a word.
override GRAIN: u32 = 1u;
override STEP: u32 = 32u;   // lanes that share a row
struct Row {
    first: u32,  // number of its first element in the window
    head: u32,   // 0
    width: u32,  // its elements; 0 where no element beside the row is ever read
}
fn row_at(first: u32, width: u32) -> Row { return Row(first, 0u, width); }
// Columns of the four elements of vector j.
fn columns_of(row: Row, j: u32) -> vec4<u32> {
    let e = vec4(0u, 1u, 2u, 3u);
    return vec4(4u * j - (4u - GRAIN) * (me.lane % STEP)) + e / GRAIN * GRAIN * STEP + e % GRAIN;
}
fn live4(row: Row, j: u32) -> vec4<bool> { return columns_of(row, j) < vec4(row.width); }
// Whether what belongs to the columns of a vector is a vector too.
fn has_vectors() -> bool { return false; }
// Accessors see to it that what they read is there.
fn clamped(row: Row, j: u32) -> u32 { return j; }
override HEADS: bool = false;
