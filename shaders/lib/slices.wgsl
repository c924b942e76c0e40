// Slices of segments: each leaves a partial record of 16 bytes. One slice: the record itself.

struct Slices {
    count: u32,          // slices of a segment
    len: u32,            // rows of a slice (strided), or vectors (contiguous)
    record_first: u32,   // record of the window's first segment in the first slice
    record_stride: u32,  // records of one slice of all segments
}

// Whether an earlier window has left records of the same segments, which this one adds to.
override RESUMES: bool = false;

fn leave(slice: u32, segment: u32, record: vec4<f32>) {
    let i = slice * p.slices.record_stride + p.slices.record_first + segment;
    var merged = record;
    if RESUMES { merged = record_merged(load_partials(i), record); }
    store_partials(i, merged);
}
