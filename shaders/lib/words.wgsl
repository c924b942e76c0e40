// A tensor dealt by words of the memory that is written, whatever its rows, offsets and strides are: a lane has four
// places side by side, two words, and whatever elements lie there.
struct Words {
    statistics: Lookup,  // of rows of one element
    elements: u32,       // of the window
    vectors: u32,        // of four places, that it touches
    first_row: u32,      // elements before the window, to the lookup
}
override WORKGROUP: u32 = 256u;
struct Dealt {
    place: u32,           // of the first of four
    number: vec4<u32>,    // of the elements there; of what is none's that of a neighbour
    live: vec4<bool>,
}
fn dealt(v: u32) -> Dealt {
    let place = written_place() / 4u * 4u + 4u * v;
    let a = element_at(place);
    let b = element_at(place + 1u);
    let c = element_at(place + 2u);
    let d = element_at(place + 3u);
    return Dealt(place, vec4(a.x, b.x, c.x, d.x), vec4(a.y, b.y, c.y, d.y) == vec4(1u));
}
// Number of an element, and 1 if it is at that place.
fn element_at(place: u32) -> vec2<u32> {
    let before = place < written_place();
    let q = select(place - written_place(), 0u, before) + p.places.column;
    let row = q / written_stride();
    let column = q - row * written_stride();
    let i = row * p.places.row_len + min(column, p.places.row_len - 1u) - p.places.column;
    let live = !before && column < p.places.row_len && i < p.words.elements;
    return vec2(min(i, p.words.elements - 1u), u32(live));
}
// Whether neighbours have one segment: the first and the last are of one run.
fn is_one(l: Lookup, n: vec4<u32>) -> bool {
    let outer = l.outer_mul == 0u || n.x / l.outer_div == n.w / l.outer_div;
    return outer && (l.inner_mul == 0u || n.x / l.inner_div == n.w / l.inner_div);
}
fn statistics_of(i: u32) -> u32 { return lookup_row(p.words.statistics, p.words.first_row + i); }
// Of both partitions.
fn have_one_segment(i: vec4<u32>) -> bool {
    return is_one(p.words.statistics, p.words.first_row + i) && is_one(p.affine.lookup, p.affine.first_row + i);
}
fn single(i: u32) -> Row { return row_at(i, 1u); }
fn taken(i: vec4<u32>) -> vec4<f32> {
    return vec4(take(single(i.x), 0u), take(single(i.y), 0u), take(single(i.z), 0u), take(single(i.w), 0u));
}
fn select_normalizer(all: Normalizer4, one: vec4<f32>, here: vec4<bool>) -> Normalizer4 {
    return Normalizer4(select(all.k, one.xxxx, here), select(all.mean, one.yyyy, here),
        select(all.rest, one.zzzz, here), select(all.r, one.wwww, here));
}
