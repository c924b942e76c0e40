// A row from a lane's first vector on.
struct Row {
    first: u32,  // number of the lane's first element in the window
    head: u32,   // 0
    width: u32,  // elements of the row from there on; 0 where no element beside the row is ever read
}
fn has_vectors() -> bool { return true; }
// Number of an element by that of a vector before it.
fn first_of(vector: u32, lane: u32) -> u32 { return 4u * (vector + lane); }
fn columns_of(row: Row, j: u32) -> vec4<u32> { return vec4(4u * j) + vec4(0u, 1u, 2u, 3u); }

fn live(k: u32) -> vec4<bool> { return vec4(k < WHOLE || 4u * vector_at(k) < own); }
// The k-th vector; where it is not the row's, some vector of the row.
fn vector(k: u32) -> u32 { return select(min(vector_at(k), (here.width - 1u) / 4u), vector_at(k), k < WHOLE); }
fn row_of(k: u32) -> Row { return Row(here.first, 0u, 0u); }
fn first() -> f32 { return taken4(fetch4(Row(start, 0u, 0u), 0u)).x; }
fn output4(k: u32, u: vec4<f32>) { if live(k).x { give4(row_of(k), vector_at(k), u); } }
fn keep(k: u32, s: vec4<f32>) { if is_there && live(k).x { keep4(row_of(k), vector_at(k), vec4(true), s); } }
