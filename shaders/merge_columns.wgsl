// Adds up the column sums that workgroups have left, [partial][scale, bias][column], to the gradients of scale and
// bias.
//
//   for each block of parameters, for each tile of COLUMNS units (a workgroup each), by SLICES lanes a unit
//       sum = partials slice, slice + SLICES, ...                           four loads in flight
//   grad[unit] = (sum over the lanes of a unit) * factor  [+ what is there]
//
// Neighbouring lanes have neighbouring units. A unit is a vector of columns; or, where runs of columns share a
// parameter (FOLDS), one parameter, whose columns are added up as well. The units of a block are those of grad_scale,
// then those of grad_bias.
//
// bindings: parameters, column_sums (read), [grad_scale], [grad_bias] (write)

struct MergeColumns {
    partials: u32,     // partial sums of a block
    units: u32,        // of a block: vectors of columns, or parameters
    stride: u32,       // columns of a partial sum, a multiple of 4
    parameters: u32,   // of a block
    run: u32,          // neighbouring columns of one parameter
    repeats: u32,      // times that the parameters of a block come again along its columns
    factor_scale: f32,
    factor_bias: f32,
    tiles: u32,        // tiles of a block
}
override WORKGROUP: u32 = 256u;
override COLUMNS: u32 = 8u;
override SLICES: u32 = 32u;          // WORKGROUP / COLUMNS
override FOLDS: bool = false;
override RESUMES: bool = false;
var<workgroup> words: array<vec4<f32>, WORKGROUP>;

// Member i of unit u: of so many partial sums, or of the columns of so many.
fn member(block: u32, bias: u32, u: u32, i: u32) -> vec4<f32> {
    if !FOLDS { return load4_column_sums(((block * p.merge_columns.partials + i) * 2u + bias) * p.merge_columns.stride
        + 4u * u); }
    let run = p.merge_columns.run;
    let again = i / run % p.merge_columns.repeats;
    let partial = i / run / p.merge_columns.repeats;
    let column = (again * p.merge_columns.parameters + u) * run + i % run;
    return vec4(load_column_sums(((block * p.merge_columns.partials + partial) * 2u + bias) * p.merge_columns.stride
        + column), vec3(0.0));
}

fn run(group: u32, local: u32) {
    if group >= p.places.workgroups { return; }  // a grid in two dimensions may have some too many
    let block = group / p.merge_columns.tiles;
    let place = group % p.merge_columns.tiles * COLUMNS + local % COLUMNS;
    let units = p.merge_columns.units;
    let unit = min(place, 2u * units - 1u);
    let bias = unit / units;
    let u = unit - bias * units;
    var members = p.merge_columns.partials;
    if FOLDS { members *= p.merge_columns.run * p.merge_columns.repeats; }
    var sums = array<vec4<f32>, 4>();
    for (var i = local / COLUMNS; i < members; i += 4u * SLICES) {
        var values: array<vec4<f32>, 4>;
        for (var k = 0u; k < 4u; k += 1u) { values[k] = member(block, bias, u, min(i + k * SLICES, members - 1u)); }
        for (var k = 0u; k < 4u; k += 1u) { sums[k] += select(vec4(0.0), values[k], i + k * SLICES < members); }
    }
    words[local] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (var step = SLICES / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if local / COLUMNS < step { words[local] += words[local + step * COLUMNS]; }
    }
    if local >= COLUMNS || place >= 2u * units { return; }
    let first = block * p.merge_columns.parameters;
    for (var e = 0u; e < select(4u, 1u, FOLDS); e += 1u) {
        let i = select(4u * u, u, FOLDS) + e;
        if i < p.merge_columns.parameters { give(first + i, bias, words[local][e]); }
    }
}
fn give(i: u32, bias: u32, sum: f32) {
    if bias == 0u {
        store_grad_scale(i, fma(sum, p.merge_columns.factor_scale, select(0.0, load_grad_scale(i), RESUMES)));
    } else {
        store_grad_bias(i, fma(sum, p.merge_columns.factor_bias, select(0.0, load_grad_bias(i), RESUMES)));
    }
}
