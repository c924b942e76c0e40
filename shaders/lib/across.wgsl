// A walk across segments: the four elements of a vector are neighbouring columns, which belong to as many segments or
// to fewer (FOLDS: p.columns.fold neighbours are one segment's). LANES lanes lie side by side, LINES below one another.

override WORKGROUP: u32 = 256u;
override LANES: u32 = 16u;
override LINES: u32 = 16u;      // WORKGROUP / LANES
override FOLDS: bool = false;

alias Sum = vec4<f32>;
alias Bits = vec4<u32>;
// Rows taken in, and whether one is there.
alias Count = f32;
alias Live = bool;
struct Counted { sum: Sum, count: f32 }
fn even(n: Count) -> f32 { return n; }

struct Columns {
    outer: u32,    // blocks of rows; a block's segments are its own
    rows: u32,     // rows of a block
    width: u32,    // columns: elements of a row
    tile: u32,     // vectors of a row that a workgroup walks: at most LANES, whole segments
    tiles: u32,    // tiles of a row
    fold: u32,     // neighbouring columns of one segment
    first_row: u32,
    first_column: u32,
}
struct Me { local: u32, column: u32, line: u32 }
var<private> me: Me;
var<workgroup> exchanged: array<vec4<f32>, WORKGROUP>;
var<workgroup> flag: u32;

fn splat(x: vec4<f32>) -> vec4<f32> { return x; }
fn splat_bits(x: vec4<u32>) -> vec4<u32> { return x; }
fn component(x: vec4<f32>, e: u32) -> f32 { return x[e]; }
fn sum_of(x: vec4<f32>) -> Sum { return x; }

// The columns of one segment that column c is of: the first of them.
fn fold_start(c: u32) -> u32 { return c - c % p.columns.fold; }
fn sum_all(x: vec4<f32>, slot: u32) -> vec4<f32> {
    workgroupBarrier();
    exchanged[me.local] = x;
    for (var step = LINES / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if me.line < step { exchanged[me.local] += exchanged[me.local + step * LANES]; }
    }
    workgroupBarrier();
    if !FOLDS { return exchanged[me.column]; }
    var sums: vec4<f32>;
    for (var e = 0u; e < 4u; e += 1u) {
        let start = fold_start(4u * me.column + e);
        for (var c = start; c < start + p.columns.fold; c += 1u) { sums[e] += exchanged[c / 4u][c % 4u]; }
    }
    return sums;
}
// With what all lines have taken in of a segment: of a slice of `taken` rows.
var<private> taken: u32;
fn sum_counted(x: vec4<f32>, n: Count, slot: u32) -> Counted {
    return Counted(sum_all(x, slot), f32(taken * p.columns.fold));
}
fn max_all(x: vec4<u32>, slot: u32) -> vec4<u32> {
    workgroupBarrier();
    exchanged[me.local] = bitcast<vec4<f32>>(x);
    workgroupBarrier();
    var tops = vec4(0u);
    for (var line = 0u; line < LINES; line += 1u) {
        tops = max(tops, bitcast<vec4<u32>>(exchanged[me.column + line * LANES]));
    }
    if FOLDS {
        workgroupBarrier();
        exchanged[me.local] = bitcast<vec4<f32>>(tops);
        workgroupBarrier();
        for (var e = 0u; e < 4u; e += 1u) {
            let start = fold_start(4u * me.column + e);
            for (var c = start; c < start + p.columns.fold; c += 1u) {
                tops[e] = max(tops[e], bitcast<u32>(exchanged[c / 4u][c % 4u]));
            }
        }
    }
    return tops;
}
fn any_lanes(x: bool) -> bool {
    workgroupBarrier();
    if me.local == 0u { flag = 0u; }
    workgroupBarrier();
    if x { flag = 1u; }
    return workgroupUniformLoad(&flag) != 0u;
}
// Of three elements of each of the four columns' segments, the ones in the middle: rarely far from all others.
fn firsts_of(row: Row, j: u32) -> vec4<f32> {
    if !FOLDS { return take4(row, j); }
    var firsts: vec4<f32>;
    for (var e = 0u; e < 4u; e += 1u) {
        let start = fold_start(4u * j + e);
        firsts[e] = take4(row, start / 4u)[start % 4u];
    }
    return firsts;
}
fn median(a: Sum, b: Sum, c: Sum) -> Sum { return max(min(a, b), min(max(a, b), c)); }
fn typical_of(row: Row, j: u32) -> vec4<f32> {
    let middle = row_at(row.first + p.columns.rows / 2u * row.width, row.width);
    let last = row_at(row.first + (p.columns.rows - 1u) * row.width, row.width);
    return median(firsts_of(row, j), firsts_of(middle, j), firsts_of(last, j));
}
