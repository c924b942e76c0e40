// Slices of segments: each leaves a partial record of 16 bytes. One slice: the record itself.

struct Slices {
    count: u32,          // slices of a segment
    len: u32,            // rows of a slice (strided), or vectors (contiguous)
    record_first: u32,   // record of the window's first segment in the first slice
    record_stride: u32,  // records of one slice of all segments
    earlier: u32,        // records of each that earlier windows have left, which this one adds to: one, or none
}

fn leave(slice: u32, segment: u32, record: vec4<f32>) {
    let i = slice * p.slices.record_stride + p.slices.record_first + segment;
    var merged = record;
    // a loop of hardly ever a turn: it keeps what is long and rare out of the way
    for (var k = 0u; k < p.slices.earlier; k += 1u) { merged = record_merged(load_partials(i), merged); }
    store_partials(i, merged);
}
