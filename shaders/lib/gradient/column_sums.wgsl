// Sums of columns, where parameters belong to columns: the groups of a workgroup add up what their lanes hold, and the
// workgroup leaves one partial sum of each column, [partial][scale, bias][column], which merge_columns adds up; or,
// where it is the only one, the gradients.
struct ColumnSums {
    first: u32,         // number of the first partial sum of this dispatch
    stride: u32,        // columns of a partial sum, a multiple of 4
    factor_scale: f32,  // on the sums that become gradients
    factor_bias: f32,
}

// Whether a workgroup has all rows of its columns: it writes the gradients themselves.
override WHOLE_COLUMNS: bool = false;
// Whether an earlier window has left gradients of the same parameters, which this one adds to.
override RESUMES: bool = false;

var<workgroup> column_words: array<vec4<f32>, WORKGROUP>;

// The sum over the groups of a workgroup, of `lanes` lanes each, for the first of them: a tree in workgroup memory. To
// be called by all.
fn sum_groups(x: vec4<f32>, local: u32, lanes: u32) -> vec4<f32> {
    if WORKGROUP == lanes { return x; }
    workgroupBarrier();
    column_words[local] = x;
    for (var half = WORKGROUP / 2u; half >= lanes; half /= 2u) {
        workgroupBarrier();
        if local < half { column_words[local] += column_words[local + half]; }
    }
    return column_words[local % lanes];
}

// Columns whose sums are so small that products may have vanished are added up once more, times 2^100: where gradients
// are still there (those to the input may have taken their place), and registers are no matter, since the walk takes 20
// of them, on a processor.
override AGAIN: bool = false;
fn are_tiny(sums: vec4<f32>) -> vec4<bool> { return (abs(sums) < vec4(8.3e-25)) & (sums != vec4(0.0)); }
const LIFT = 1.2676506e30;
const DROP = 7.888609e-31;
// Whether it is so in any lane of the workgroup.
fn any_columns(x: bool, local: u32) -> bool {
    workgroupBarrier();
    if local == 0u { column_words[0] = vec4(0.0); }
    workgroupBarrier();
    if x { column_words[0].x = 1.0; }
    return workgroupUniformLoad(&column_words[0]).x != 0.0;
}
// What the groups of a workgroup hold, added up in place; gives whether that is to be done again.
fn join_columns(d_scale: ptr<function, array<vec4<f32>, VECTORS>>, d_bias: ptr<function, array<vec4<f32>, VECTORS>>,
    local: u32) -> bool {
    var tiny = false;
    for (var v = 0u; v < VECTORS && SUMS; v += 1u) {
        (*d_scale)[v] = sum_groups((*d_scale)[v], local, LANES);
        (*d_bias)[v] = sum_groups((*d_bias)[v], local, LANES);
        // sums are those of the first group: others read them too early
        tiny |= (local < LANES) & any(are_tiny((*d_scale)[v]) | are_tiny((*d_bias)[v]));
    }
    return SUMS && AGAIN && any_columns(tiny, local);
}
fn tiny_columns(sums: mat2x4<f32>, lifted: mat2x4<f32>, local: u32, lanes: u32) -> mat2x4<f32> {
    let scale = sum_groups(lifted[0], local, lanes) * DROP;
    let bias = sum_groups(lifted[1], local, lanes) * DROP;
    return mat2x4(select(sums[0], scale, are_tiny(sums[0])), select(sums[1], bias, are_tiny(sums[1])));
}

// Vector j of the sums of the columns of a row, to the block of parameters that starts at `parameter`.
fn leave_scale(number: u32, parameter: u32, row: Row, j: u32, sum: vec4<f32>) {
    if WHOLE_COLUMNS {
        give_scale4(parameter, row, j, sum * p.column_sums.factor_scale);
        return;
    }
    leave4((p.column_sums.first + number) * 2u * p.column_sums.stride, row, j, sum);
}
fn leave_bias(number: u32, parameter: u32, row: Row, j: u32, sum: vec4<f32>) {
    if WHOLE_COLUMNS {
        give_bias4(parameter, row, j, sum * p.column_sums.factor_bias);
        return;
    }
    leave4(((p.column_sums.first + number) * 2u + 1u) * p.column_sums.stride, row, j, sum);
}
fn leave4(at: u32, row: Row, j: u32, sum: vec4<f32>) {
    let live = live4(row, j);
    if has_vectors() {
        if live.x { store4_column_sums(at + 4u * j, sum); }
        return;
    }
    let i = vec4(at) + columns_of(row, j);
    for (var e = 0u; e < 4u; e += 1u) { if live[e] { store_column_sums(i[e], sum[e]); } }
}
// To the gradients themselves; `first` is where the block's parameters begin.
fn give_scale4(first: u32, row: Row, j: u32, sum: vec4<f32>) {
    let live = live4(row, j);
    if has_vectors() {
        let at = first + 4u * j;
        if live.x { store4_grad_scale(at, sum + select(vec4(0.0), load4_grad_scale(at), RESUMES)); }
        return;
    }
    let i = vec4(first) + columns_of(row, j);
    for (var e = 0u; e < 4u; e += 1u) {
        if live[e] { store_grad_scale(i[e], sum[e] + select(0.0, load_grad_scale(i[e]), RESUMES)); }
    }
}
fn give_bias4(first: u32, row: Row, j: u32, sum: vec4<f32>) {
    let live = live4(row, j);
    if has_vectors() {
        let at = first + 4u * j;
        if live.x { store4_grad_bias(at, sum + select(vec4(0.0), load4_grad_bias(at), RESUMES)); }
        return;
    }
    let i = vec4(first) + columns_of(row, j);
    for (var e = 0u; e < 4u; e += 1u) {
        if live[e] { store_grad_bias(i[e], sum[e] + select(0.0, load_grad_bias(i[e]), RESUMES)); }
    }
}
