// A parameter over a partition of its own: where an element's is.
struct Broadcast {
    lookup: Lookup,  // of rows of one element
    first: u32,      // elements before the window, to the lookup
    len: u32,        // of a row of the parameter, and from row to row
    stride: u32,
}
fn place_of_segment(b: Broadcast, segment: u32, padded: bool) -> u32 {
    return select(segment, segment / b.len * b.stride + segment % b.len, padded);
}
fn place_of_element(b: Broadcast, i: u32, padded: bool) -> u32 {
    return place_of_segment(b, lookup_row(b.lookup, b.first + i), padded);
}
