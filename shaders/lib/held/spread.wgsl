// A row from a lane's first element on. Elements are read and written one by one, and neighbouring lanes take
// neighbours (GRAIN of them each, the halves of a word): hence rows of any width at any place. The four elements of a
// vector, or two pairs of them, are as far apart as vectors are.
override GRAIN: u32 = 1u;
struct Row {
    first: u32,  // number of the lane's first element in the window
    head: u32,   // 0
    width: u32,  // elements of the row from there on; 0 where no element beside the row is ever read
}
fn has_vectors() -> bool { return false; }
fn first_of(vector: u32, lane: u32) -> u32 { return 4u * vector + GRAIN * lane; }
fn columns_of(row: Row, j: u32) -> vec4<u32> {
    let e = vec4(0u, 1u, 2u, 3u);
    return vec4(4u * j) + e / GRAIN * GRAIN * side() + e % GRAIN;
}

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
fn first() -> f32 { return take(Row(start, 0u, 0u), 0u); }
fn output4(k: u32, u: vec4<f32>) {
    let there = live(k);
    if k < WHOLE {
        give4(row_of(k), vector(k), u);
        return;
    }
    give_some4(here, vector(k), there, u);
}
fn keep(k: u32, s: vec4<f32>) {
    let there = live(k);
    if is_there { keep4(row_of(k), vector(k), there, s); }
}
