// A tensor dealt by words of the memory that is written, whatever its rows, offsets and strides are: a lane has four
// places side by side, two words, and whatever elements lie there.
struct Words {
    statistics: Lookup,  // of rows of one element
    elements: u32,       // of the window
    vectors: u32,        // of four places, that it touches
    first_row: u32,      // elements before the window, to the lookup
}
override WORKGROUP: u32 = 256u;
override PADDED: bool = false;   // whether rows are apart in some tensor
struct Dealt {
    place: u32,           // of the first of four
    number: vec4<u32>,    // of the elements there; of what is none's that of a neighbour
    live: vec4<bool>,
}
fn dealt(v: u32) -> Dealt {
    let place = written_place() / 4u * 4u + 4u * v;
    if !PADDED {
        let places = vec4(place) + vec4(0u, 1u, 2u, 3u);
        let first = vec4(written_place());
        let last = first + vec4(p.words.elements - 1u);
        return Dealt(place, clamp(places, first, last) - first, (places >= first) & (places <= last));
    }
    let q = max(place, written_place()) - written_place() + p.places.column;
    let row = q / written_stride();
    let first = vec2(row * p.places.row_len, q - row * written_stride());
    let second = next_to(place, first);
    let third = next_to(place + 1u, second);
    let a = element_at(place, first);
    let b = element_at(place + 1u, second);
    let c = element_at(place + 2u, third);
    let d = element_at(place + 3u, next_to(place + 2u, third));
    return Dealt(place, vec4(a.x, b.x, c.x, d.x), vec4(a.y, b.y, c.y, d.y) == vec4(1u));
}
// What lies at a place is told by the first element of its row, and its column. This is that of the next place; places
// before the tensor have that of its first.
fn next_to(place: u32, at: vec2<u32>) -> vec2<u32> {
    let column = at.y + u32(place >= written_place());
    return select(vec2(at.x, column), vec2(at.x + p.places.row_len, 0u), column == written_stride());
}
// Number of an element, and 1 if it is at that place.
fn element_at(place: u32, at: vec2<u32>) -> vec2<u32> {
    let i = at.x + min(at.y, p.places.row_len - 1u) - p.places.column;
    let live = (place >= written_place()) & (at.y < p.places.row_len) & (i < p.words.elements);
    return vec2(min(i, p.words.elements - 1u), u32(live));
}
// The segments of four elements. Most are neighbours of one segment, or of neighbouring ones: one lookup tells.
fn segments_of(l: Lookup, n: vec4<u32>) -> vec4<u32> {
    // a division takes some twenty instructions
    var inner = n.x;
    if l.inner_div > 1u { inner = n.x / l.inner_div; }
    var segment = inner;
    if inner >= l.inner_mod { segment = inner % l.inner_mod; }
    var first = segment * l.inner_mul - l.base;
    var are_alike = n.w - n.x == 3u
        && select(l.inner_div - (n.x - inner * l.inner_div), l.inner_mod - segment, l.inner_div == 1u) > 3u;
    if l.outer_mul > 0u {
        let outer = n.x / l.outer_div;
        first += outer * l.outer_mul;
        are_alike &= l.outer_div - (n.x - outer * l.outer_div) > 3u;
    }
    var all = first + vec4(0u, 1u, 2u, 3u) * select(0u, l.inner_mul, l.inner_div == 1u);
    // a loop that stays one: it keeps what is long and rare short
    for (var e = select(p.exact.zero + 1u, 4u, are_alike); e < 4u; e += 1u) {
        all = select(all, vec4(lookup_row(l, n[e])), vec4(0u, 1u, 2u, 3u) == vec4(e));
    }
    return all;
}
fn statistics_of(i: vec4<u32>) -> vec4<u32> { return segments_of(p.words.statistics, p.words.first_row + i); }
fn parameters_of(i: vec4<u32>) -> vec4<u32> {
    if !AFFINE_BASE { return vec4(0u); }
    return segments_of(p.affine.lookup, p.affine.first_row + i);
}
fn scales_of(n: vec4<u32>) -> vec4<f32> {
    return vec4(load_scale(n.x), load_scale(n.y), load_scale(n.z), load_scale(n.w));
}
fn biases_of(n: vec4<u32>) -> vec4<f32> {
    return vec4(load_bias(n.x), load_bias(n.y), load_bias(n.z), load_bias(n.w));
}
// The first of four segments that differs from that before it, if any does: from there on a loop takes each by itself.
fn first_other(n: vec4<u32>) -> u32 { return select(p.exact.zero + 1u, 4u, all(n == n.xxxx)); }
fn single(i: u32) -> Row { return row_at(i, 1u); }
fn taken(i: vec4<u32>) -> vec4<f32> {
    return vec4(take(single(i.x), 0u), take(single(i.y), 0u), take(single(i.z), 0u), take(single(i.w), 0u));
}
fn select_normalizer(all: Normalizer4, one: vec4<f32>, here: vec4<bool>) -> Normalizer4 {
    return Normalizer4(select(all.k, one.xxxx, here), select(all.mean, one.yyyy, here),
        select(all.rest, one.zzzz, here), select(all.r, one.wwww, here));
}
