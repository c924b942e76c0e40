// The coefficients of the segments that a workgroup meets, merged of their parts by its own lanes: a dispatch that does
// it once for all is one more that every workgroup has to wait for.
const GIVEN = false;
override MERGES_AFFINE: bool = false;   // whether the gradients of scale and bias are merged beside
fn affine_groups() -> u32 { return select(0u, p.parts.affine_groups, MERGES_AFFINE); }
const KNOWN = 128u;            // most segments that a workgroup meets: MAX_KNOWN of src/schedule/map_backward.rs
var<workgroup> known: array<vec4<f32>, 2u * KNOWN>;
var<workgroup> known_scales: array<f32, KNOWN>;   // of rows that have one
var<private> origin: u32;      // the first row, or the first run of columns, that it meets

// From `first` to `last`: rows, or runs of columns of row n. To be called by all.
fn know(local: u32, n: u32, first: u32, last: u32) {
    let i = local % p.parts.columns;
    let at = min(first + i, last);
    var segment = segment_at(n, at);
    if STATISTICS == ROW { segment = segment_at(at, 0u); }
    let sums = merged(p.parts.statistics, segment, local, p.parts.columns, p.parts.lines, true);
    if local == i {
        let all = coefficients(load_moments(segment), sums);
        known[2u * i] = all.by;
        known[2u * i + 1u] = all.pull;
        if STATISTICS == ROW && AFFINE == ROW { known_scales[i] = affine_at(at - p.map_backward.first_row).scale; }
    }
    origin = first;
    workgroupBarrier();
}
fn scale_at(n: u32) -> f32 {
    if STATISTICS != ROW { return affine_at(n - p.map_backward.first_row).scale; }
    return known_scales[min(n - origin, KNOWN - 1u)];
}
fn coefficients_at(n: u32, run: u32) -> Coefficients {
    let i = 2u * min(select(run, n, STATISTICS == ROW) - origin, KNOWN - 1u);
    return Coefficients(known[i], known[i + 1u]);
}
