// A walk along memory: the four elements of a vector belong to one segment. Each is a chain of its own until the walk
// ends.

alias Sum = f32;
alias Bits = u32;
// Elements of each chain, and which of a vector's are there.
alias Count = vec4<f32>;
alias Live = vec4<bool>;
struct Counted { sum: Sum, count: f32 }
// Of chains that have taken in equally many: as long as chunks are whole.
fn even(n: Count) -> f32 { return n.x; }

fn splat(x: f32) -> vec4<f32> { return vec4(x); }
fn splat_bits(x: u32) -> vec4<u32> { return vec4(x); }
fn component(x: f32, e: u32) -> f32 { return x; }
fn sum_of(x: vec4<f32>) -> Sum { return x.x; }   // of four that are the same
fn sum_all(x: vec4<f32>, slot: u32) -> f32 { return sum_lanes((x.x + x.y) + (x.z + x.w), slot); }
// With what all lanes have taken in.
fn sum_counted(x: vec4<f32>, n: Count, slot: u32) -> Counted {
    let both = sum2_lanes(vec2((x.x + x.y) + (x.z + x.w), (n.x + n.y) + (n.z + n.w)), slot);
    return Counted(both.x, both.y);
}
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
