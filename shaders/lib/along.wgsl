// A walk along memory: the four elements of a vector belong to one segment. Each is a chain of its own until the walk
// ends.

// Whether every lane always has FLIGHT whole vectors; and whether runs begin or end inside one.
override FULL: bool = false;
override EDGES: bool = false;

alias Sum = f32;
alias Bits = u32;
// Of each vector of a chunk: column of its first element in the run. Elements before the run wrap around, what is not
// there is far out.
struct Live { column: array<u32, FLIGHT> }
const NOWHERE = 0x80000000u;

fn is_live(live: Live, k: u32) -> vec4<bool> {
    if FULL { return vec4(true); }
    if !EDGES { return vec4(live.column[k] < NOWHERE); }
    return vec4(live.column[k]) + vec4(0u, 1u, 2u, 3u) < vec4(p.runs.width);
}
// 1 for what is there, 0 for what is not.
fn weights_of(live: Live, k: u32) -> vec4<f32> { return select(vec4(0.0), vec4(1.0), is_live(live, k)); }
// Elements beside the segment may be anything: 0 instead.
fn own4(live: Live, k: u32, x: vec4<f32>) -> vec4<f32> {
    if EDGES { return select(vec4(0.0), x, is_live(live, k)); }
    return x;
}
fn count_of(live: Live) -> vec4<f32> {
    var n = vec4(0.0);
    for (var k = 0u; k < FLIGHT; k += 1u) { n += weights_of(live, k); }
    return n;
}
// Without edges the four chains have taken in equally many.
fn even(n: vec4<f32>) -> vec4<f32> { return select(vec4(n.x), n, EDGES); }
// What all lanes have taken in: of a slice of `taken` elements.
var<private> taken: u32;
fn count_all(n: vec4<f32>, slot: u32) -> f32 {
    if !EDGES { return f32(taken); }
    return sum_all(n, slot);
}

fn splat(x: f32) -> vec4<f32> { return vec4(x); }
fn splat_bits(x: u32) -> vec4<u32> { return vec4(x); }
fn component(x: f32, e: u32) -> f32 { return x; }
fn sum_all(x: vec4<f32>, slot: u32) -> f32 { return sum_lanes((x.x + x.y) + (x.z + x.w), slot); }
fn max_all(x: vec4<u32>, slot: u32) -> u32 { return max_lanes(max(max(x.x, x.y), max(x.z, x.w)), slot); }
// Of three elements of the segment, whose first run is `row`, the one in the middle: rarely far from all others.
fn element_of(row: Row, column: u32) -> f32 {
    let i = row.head + column;
    return take4(row, i / 4u)[i % 4u];
}
fn median(a: Sum, b: Sum, c: Sum) -> Sum { return max(min(a, b), min(max(a, b), c)); }
fn typical_of(row: Row, j: u32) -> f32 {
    let apart = p.runs.inner * row.width;
    let middle = row_at(row.first + p.runs.count / 2u * apart, row.width);
    let last = row_at(row.first + (p.runs.count - 1u) * apart, row.width);
    return median(element_of(row, 0u), element_of(middle, row.width / 2u), element_of(last, row.width - 1u));
}
