// Merges records over a partition of them, in a fixed order: of slices, of windows, of shards.
//
//   records[segment] = the partial records i of the segment, merged
//
// Partial record i of segment (outer, inner) is number ((outer * count + i / side) * inner_count + inner) * side + i %
// side. LANES lanes own a segment, WORKGROUP / LANES segments a workgroup: each merges every LANES-th record, then
// lanes merge in pairs. A segment without partial records gets 0.
//
// bindings: parameters, partials (read), records (write)

override WORKGROUP: u32 = 64u;
override LANES: u32 = 64u;
var<workgroup> merged: array<vec4<f32>, WORKGROUP>;

struct Merge {
    segments: u32,  // that are merged
    first: u32,     // number of the first of them
    inner: u32,     // segments side by side
    count: u32,     // blocks of records of a segment
    side: u32,      // records of a block, side by side
}

// Links of a chain have 16 members: short chains keep the rounding small.
const LINK = 16u;

fn run(group: u32, local: u32) {
    let lane = local % LANES;
    let segment = group * (WORKGROUP / LANES) + local / LANES;
    let number = segment + p.merge.first;
    let first = (number / p.merge.inner * p.merge.count * p.merge.inner + number % p.merge.inner) * p.merge.side;
    let end = select(0u, p.merge.count * p.merge.side, segment < p.merge.segments);
    var all = vec4(0.0);
    for (var k = lane; k < end; k += LINK * LANES) {
        var link = vec4(0.0);
        for (var i = k; i < min(k + LINK * LANES, end); i += LANES) {
            link = record_merged(link,
                load_partials(first + i / p.merge.side * (p.merge.inner * p.merge.side) + i % p.merge.side));
        }
        all = record_merged(all, link);
    }
    merged[local] = all;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half { merged[local] = record_merged(merged[local], merged[local + half]); }
    }
    if lane == 0u && segment < p.merge.segments { store_records(segment, merged[local]); }
}
