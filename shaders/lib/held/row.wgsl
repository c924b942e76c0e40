// A segment is a row of memory. LANES lanes hold it, VECTORS vectors each: vectors lane, lane + LANES, ...
struct Held {
    segments: u32,  // rows of the window
    width: u32,     // elements of a row
    vectors: u32,   // vectors of a row
    turns: u32,     // VECTORS, unknown to the compiler: loops of the slow path stay loops
    len: f32,       // elements of a segment
    inverse_len: f32,
    spare: vec2<u32>,
}
override WHOLE: u32 = 0u;   // the first so many vectors of a lane are the row's in every lane
var<private> here: Row;
var<private> number: u32;
var<private> parameters: Parameters4;

// Whether there is a row for this group of lanes; if not, it takes the last one and writes nothing.
fn enter(group: u32, local: u32) -> bool {
    enter_lanes(local);
    let row = group * (WORKGROUP / LANES) + me.group;
    number = min(row, p.held.segments - 1u);
    here = row_at(number * p.held.width, p.held.width);
    return row < p.held.segments;
}
fn enter_affine() { parameters = affine_at(number); }

fn whole() -> Row { return Row(here.first, here.head, 0u); }
fn vector(k: u32) -> u32 { return me.lane + k * LANES; }
fn live(k: u32) -> vec4<bool> {
    if k < WHOLE { return vec4(true); }
    if has_vectors() { return vec4(vector(k) < p.held.vectors); }
    return live4(here, vector(k));
}
fn first() -> f32 { return take(here, 0u); }
// What is not the row's is some element of it.
fn input4(k: u32) -> vec4<f32> {
    if k < WHOLE { return take4(whole(), vector(k)); }
    if has_vectors() { return take4(whole(), min(vector(k), p.held.vectors - 1u)); }
    return take4(here, vector(k));
}
fn output4(k: u32, u: vec4<f32>) {
    let there = live(k);
    if has_vectors() || k < WHOLE {
        if there.x { give4(whole(), vector(k), u); }
        return;
    }
    if there.x { give(here, vector(k), 0u, u.x); }
    if there.y { give(here, vector(k), 1u, u.y); }
    if there.z { give(here, vector(k), 2u, u.z); }
    if there.w { give(here, vector(k), 3u, u.w); }
}
fn scale_of(k: u32) -> vec4<f32> { 
    if k < WHOLE { return scale4(parameters, whole(), vector(k)); }
    return scale4(parameters, here, vector(k));
}
fn bias_of(k: u32) -> vec4<f32> {
    if k < WHOLE { return bias4(parameters, whole(), vector(k)); }
    return bias4(parameters, here, vector(k));
}
fn save(record: vec4<f32>, e: u32) { if me.lane == 0u { store_moments(number, record); } }
