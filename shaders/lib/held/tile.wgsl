// A segment is a column of vectors, or RUN neighbouring ones, over rows of memory. A workgroup has LANES of them side
// by side; its lanes hold VECTORS rows each: rows line, line + LINES, ...
struct HeldTile {
    rows: u32,      // rows of a segment
    vectors: u32,   // vectors of a row of memory
    tiles: u32,     // workgroups that share rows
    outer: u32,     // blocks of rows
    turns: u32,     // VECTORS, unknown to the compiler: loops of the slow path stay loops
    len: f32,       // elements of a segment
    inverse_len: f32,
}
override WHOLE: u32 = 0u;   // the first so many vectors of a lane are there in every lane
var<private> block: u32;
var<private> column: u32;
var<private> is_there: bool;   // whether there is a column for this lane
var<private> own_scale: vec4<f32>;
var<private> own_bias: vec4<f32>;

// Whether there is a column for this lane; if not, it takes the last one and writes nothing.
fn enter(group: u32, local: u32) -> bool {
    enter_lanes(local);
    let at = group / p.held.tiles;
    let j = group % p.held.tiles * LANES + me.lane;
    block = min(at, p.held.outer - 1u);
    column = min(j, p.held.vectors - 1u);
    is_there = at < p.held.outer && j < p.held.vectors;
    return is_there;
}
// Scale and bias of a column are the same in all its rows.
fn enter_affine() {
    let parameters = affine_at(block * p.held.rows);
    own_scale = scale4(parameters, row(0u), column);
    own_bias = bias4(parameters, row(0u), column);
}
fn row(i: u32) -> Row { return Row((block * p.held.rows + i) * 4u * p.held.vectors, 0u, 0u); }
fn live(k: u32) -> vec4<bool> { return vec4(k < WHOLE || me.line + k * LINES < p.held.rows); }
fn first() -> Sum { return of_four(take4(row(0u), column / RUN * RUN)); }
fn fetched(k: u32) -> Taken {
    let i = me.line + k * LINES;
    if k < WHOLE { return fetch4(row(i), column); }
    return fetch4(row(min(i, p.held.rows - 1u)), column);
}
fn input4(k: u32) -> vec4<f32> { return taken4(fetched(k)); }
fn output4(k: u32, u: vec4<f32>) { if live(k).x { give4(row(me.line + k * LINES), column, u); } }
fn keep(k: u32, s: vec4<f32>) {
    if is_there && live(k).x { keep4(row(me.line + k * LINES), column, vec4(true), s); }
}
fn scale_of(k: u32) -> vec4<f32> { return own_scale; }
fn bias_of(k: u32) -> vec4<f32> { return own_bias; }
fn save(record: vec4<f32>, e: u32) {
    if own_member() == 0u { store_moments((block * p.held.vectors + column) / RUN * SEGMENTS + e, record); }
}
