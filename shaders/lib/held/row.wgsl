// A segment is a row of memory. LANES lanes hold it, VECTORS vectors each: vectors lane, lane + LANES, ...
struct HeldRow {
    segments: u32,  // rows of the window
    width: u32,     // elements of a row
    vectors: u32,   // vectors of a row
    turns: u32,     // VECTORS, unknown to the compiler: loops of the slow path stay loops
    len: f32,       // elements of a segment
    inverse_len: f32,
    spare: vec2<u32>,
}
override WHOLE: u32 = 0u;   // the first so many vectors of a lane are the row's in every lane
var<private> number: u32;
var<private> start: u32;          // of the row
var<private> here: Row;           // the row from the lane's first element on; all of it, for a lane beyond its end
var<private> own: u32;            // elements of the row from there on; 0 beyond its end
var<private> parameters: Parameters4;

// Whether there is a row for this group of lanes; if not, it takes the last one and writes nothing.
fn enter(group: u32, local: u32) -> bool {
    enter_lanes(local);
    let row = group * (WORKGROUP / LANES) + me.group;
    number = min(row, p.held.segments - 1u);
    start = number * p.held.width;
    let column = select(1u, 4u, has_vectors()) * me.lane;
    let beyond = WHOLE == 0u && column >= p.held.width;
    let at = select(column, 0u, beyond);
    own = select(p.held.width - at, 0u, beyond);
    here = Row(start + at, 0u, p.held.width - at);
    return row < p.held.segments;
}
fn enter_affine() {
    parameters = affine_at(number);
    parameters.column = here.first - start;
}

// The row as the k-th vector sees it: with bounds, where the vector may reach beyond its end.
fn row_of(k: u32) -> Row {
    if k < WHOLE || has_vectors() { return Row(here.first, 0u, 0u); }
    return here;
}
// The k-th vector; where it is not the row's, some vector of the row.
fn vector(k: u32) -> u32 {
    if k < WHOLE || !has_vectors() { return k * LANES; }
    return min(k * LANES, (here.width - 1u) / 4u);
}
fn live(k: u32) -> vec4<bool> {
    if k < WHOLE { return vec4(true); }
    if has_vectors() { return vec4(4u * k * LANES < own); }
    return columns_of(here, k * LANES) < vec4(own);
}
fn first() -> f32 { return take(Row(start, 0u, 0u), 0u); }
fn input4(k: u32) -> vec4<f32> { return take4(row_of(k), vector(k)); }
fn output4(k: u32, u: vec4<f32>) {
    let there = live(k);
    let row = row_of(k);
    if has_vectors() || k < WHOLE {
        if there.x { give4(row, k * LANES, u); }
        return;
    }
    if there.x { give(row, k * LANES, 0u, u.x); }
    if there.y { give(row, k * LANES, 1u, u.y); }
    if there.z { give(row, k * LANES, 2u, u.z); }
    if there.w { give(row, k * LANES, 3u, u.w); }
}
fn scale_of(k: u32) -> vec4<f32> { return scale4(parameters, row_of(k), vector(k)); }
fn bias_of(k: u32) -> vec4<f32> { return bias4(parameters, row_of(k), vector(k)); }
fn save(record: vec4<f32>, e: u32) { if me.lane == 0u { store_moments(number, record); } }
