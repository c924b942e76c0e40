// A row from a lane's first element on. Elements are read and written one by one, and neighbouring lanes take neighbours: hence rows of
// any width at any place. The lane's elements are LANES apart, and their places differ by constants.
struct Row {
    first: u32,  // number of the lane's first element in the window
    head: u32,   // 0
    width: u32,  // elements of the row from there on; 0 where no element beside the row is ever read
}
// Columns of the four elements of vector j, the lane's (j / LANES)th.
fn columns_of(row: Row, j: u32) -> vec4<u32> { return vec4(4u * j) + vec4(0u, 1u, 2u, 3u) * LANES; }
// Whether what belongs to the columns of a vector is a vector too.
fn has_vectors() -> bool { return false; }
