// The scale of each row, or of each block of its columns: its largest magnitude over the largest number of the format,
// and no less than a bound.
//
//   for each block of each row (a workgroup):  scales = max(max |y| / largest, least)
//
// NaN has the largest bits, and makes its scale NaN.
//
// bindings: parameters, unquantized (read), scales (write)

override WORKGROUP: u32 = 64u;
struct Scales {
    width: u32,      // elements of a row
    block: u32,      // columns that share a scale
    blocks: u32,     // of a row
    largest: f32,    // number of the format
    least: f32,      // scale
}
var<workgroup> tops: array<u32, WORKGROUP>;

fn run(group: u32, local: u32) {
    if group >= p.places.workgroups { return; }  // a grid in two dimensions may have some too many
    let column = group % p.scales.blocks * p.scales.block;
    let first = group / p.scales.blocks * p.scales.width + column;
    let len = min(p.scales.block, p.scales.width - column);
    var top = 0u;
    for (var k = local; k < len; k += WORKGROUP) {
        top = max(top, bitcast<u32>(load_unquantized(first + k)) & 0x7fffffffu);
    }
    tops[local] = top;
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if local < half { tops[local] = max(tops[local], tops[local + half]); }
    }
    if local > 0u { return; }
    let scale = bitcast<f32>(tops[0]) / p.scales.largest;
    store_scales(group, select(scale, p.scales.least, scale < p.scales.least));
}
