// A row from a lane's first element on. Elements are read and written one by one, and neighbouring lanes take
// neighbours: hence rows of any width at any place. The four elements of a vector are as far apart as vectors are.
struct Row {
    first: u32,  // number of the lane's first element in the window
    head: u32,   // 0
    width: u32,  // elements of the row from there on; 0 where no element beside the row is ever read
}
fn has_vectors() -> bool { return false; }
fn first_of(vector: u32, lane: u32) -> u32 { return 4u * vector + lane; }
fn columns_of(row: Row, j: u32) -> vec4<u32> { return vec4(4u * j) + vec4(0u, 1u, 2u, 3u) * side(); }

fn live(k: u32) -> vec4<bool> {
    if k < WHOLE { return vec4(true); }
    return columns_of(here, vector(k)) < vec4(own);
}
fn vector(k: u32) -> u32 { return vector_at(k); }
// The row as the k-th vector sees it: with bounds, where the vector may reach beyond its end.
fn row_of(k: u32) -> Row {
    if k < WHOLE { return Row(here.first, 0u, 0u); }
    return here;
}
fn output4(k: u32, u: vec4<f32>) {
    let there = live(k);
    if k < WHOLE {
        give4(row_of(k), vector(k), u);
        return;
    }
    if there.x { give(here, vector(k), 0u, u.x); }
    if there.y { give(here, vector(k), 1u, u.y); }
    if there.z { give(here, vector(k), 2u, u.z); }
    if there.w { give(here, vector(k), 3u, u.w); }
}
