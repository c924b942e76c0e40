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
fn has_one_segment(i: vec4<u32>) -> bool { return is_one(p.words.statistics, vec4(p.words.first_row) + i); }
fn single(i: u32) -> Row { return row_at(i, 1u); }

// Which bits of a word are live, and the word with those of another.
fn halves(live: vec2<bool>) -> u32 { return select(0u, 0xffffu, live.x) | select(0u, 0xffff0000u, live.y); }
fn insert_halves(word: u32, other: u32, live: u32) -> u32 { return (word & ~live) | (other & live); }
