// A segment is a row of memory. Its lanes hold it, VECTORS vectors each. SIDE neighbouring lanes have neighbours;
// TOGETHER vectors of a lane are SIDE apart, so that their places differ by constants whatever the number of lanes;
// then come the next TOGETHER of all lanes.
struct HeldRow {
    segments: u32,  // rows of the window
    width: u32,     // elements of a row
    turns: u32,     // VECTORS, unknown to the compiler: loops of the slow path stay loops
    len: f32,       // elements of a segment
    inverse_len: f32,
}
override SIDE: u32 = 8u;          // 0: all lanes
override TOGETHER: u32 = 1u;
override WHOLE: u32 = 0u;         // the first so many vectors of a lane are the row's in every lane
var<private> number: u32;
var<private> start: u32;          // of the row
var<private> here: Row;           // the row from the lane's first element on; all of it, for a lane beyond its end
var<private> own: u32;            // elements of the row from there on; 0 beyond its end
var<private> parameters: Parameters4;
var<private> is_there: bool;      // whether there is a row for this group of lanes

// Whether there is a row for this group of lanes; if not, it takes the last one and writes nothing.
fn enter(group: u32, local: u32) -> bool {
    enter_lanes(local);
    let row = group * rows_of_workgroup() + me.group;
    number = min(row, p.held.segments - 1u);
    start = number * p.held.width;
    let first = first_of(me.lane / side() * side() * TOGETHER, me.lane % side());
    let beyond = WHOLE == 0u && first >= p.held.width;
    let column = select(first, 0u, beyond);
    own = select(p.held.width - column, 0u, beyond);
    here = Row(start + column, 0u, p.held.width - column);
    is_there = row < p.held.segments;
    return is_there;
}
fn side() -> u32 { return select(SIDE, lanes(), SIDE == 0u); }
// The k-th vector, counted from the lane's first.
fn vector_at(k: u32) -> u32 { return k / TOGETHER * TOGETHER * lanes() + k % TOGETHER * side(); }
fn enter_affine() {
    parameters = affine_at(number);
    parameters.column = here.first - start;
}
// What is not the row's is some element of it.
fn fetched(k: u32) -> Taken { return fetch4(row_of(k), vector(k)); }
fn input4(k: u32) -> vec4<f32> { return taken4(fetched(k)); }
fn scale_of(k: u32) -> vec4<f32> { return scale4(parameters, row_of(k), vector(k)); }
fn bias_of(k: u32) -> vec4<f32> { return bias4(parameters, row_of(k), vector(k)); }
fn save(record: vec4<f32>, e: u32) { if me.lane == 0u { store_moments(number, record); } }
