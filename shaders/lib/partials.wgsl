// Partial records: one a slice of each segment. A map merges up to 64 of them itself.
struct Partials {
    count: u32,   // of a segment; 1: records are whole
    stride: u32,  // records from one slice to the next
}

fn partial_at(segment: u32, slice: u32) -> vec4<f32> { return load_partials(slice * p.partials.stride + segment); }

// Record by record, over the whole range. Rare.
fn merged_carefully(segment: u32) -> vec4<f32> {
    var all = partial_at(segment, 0u);
    for (var slice = 1u; slice < p.partials.count; slice += 1u) {
        all = record_merged(all, partial_at(segment, slice));
    }
    return all;
}
