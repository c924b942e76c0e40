// From the gradients S2 to a composed scale and S1 to a composed bias to that of one of the four lists:
//
//   d modulation_shift = sum S1;   d modulation_scale = sum (scale + 1?) * S2 + bias * S1
//   d bias = sum (modulation_scale + 1?) * S1;   d scale = sum (modulation_scale + 1?) * S2
//
// over the finer segments that share an element of it
//
//   for each tile of COLUMNS units (a workgroup each), by LINES lanes a unit; a unit is an element, or the two that are
//   halves of a word: the sum over its segments line, line + LINES, ..., then over the lanes
//
// bindings: parameters, composed_scale, composed_bias, [scale], [bias], [modulation_scale] (read), rounded (write)

const SHIFT = 0u;
const SECOND_SCALE = 1u;
const FIRST_BIAS = 2u;
override KIND: u32 = 0u;              // or that of the first scale
override WORKGROUP: u32 = 256u;
override COLUMNS: u32 = 8u;
override LINES: u32 = 32u;            // WORKGROUP / COLUMNS
struct Decompose {
    dims: vec4<u32>,  // the finer segments as elements of the list's partition
    segments: u32,    // elements of the list
    grain: u32,       // of a unit
    phase: u32,       // halves of the first word that are others'
}
var<workgroup> words: array<vec2<f32>, WORKGROUP>;

fn run(group: u32, local: u32) {
    if group >= p.places.workgroups { return; }  // a grid in two dimensions may have some too many
    let first = (group * COLUMNS + local % COLUMNS) * p.decompose.grain - p.decompose.phase;
    var own = vec2(0.0);
    for (var e = 0u; e < p.decompose.grain; e += 1u) {
        if first + e < p.decompose.segments { own[e] = part_of(first + e, local / COLUMNS); }
    }
    words[local] = own;
    for (var step = LINES / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if local / COLUMNS < step { words[local] += words[local + step * COLUMNS]; }
    }
    if local >= COLUMNS { return; }
    for (var e = 0u; e < p.decompose.grain; e += 1u) {
        if first + e < p.decompose.segments { store_rounded(first + e, words[local][e]); }
    }
}
fn part_of(segment: u32, line: u32) -> f32 {
    let dims = p.decompose.dims;
    var sum = 0.0;
    for (var m = line; m < dims.y * dims.w; m += LINES) {
        let outer = segment / dims.z * dims.y + m / dims.w;
        sum += term((outer * dims.z + segment % dims.z) * dims.w + m % dims.w);
    }
    return sum;
}
fn term(i: u32) -> f32 {
    switch KIND {
        case SHIFT: { return load_composed_bias(i); }
        case SECOND_SCALE: {
            return fma(first_scale_of(i), load_composed_scale(i), first_bias_of(i) * load_composed_bias(i));
        }
        case FIRST_BIAS: { return second_scale_of(i) * load_composed_bias(i); }
        default: { return second_scale_of(i) * load_composed_scale(i); }
    }
}
