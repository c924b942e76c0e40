// Scale and bias of a row's vectors, looked up when they are used. Absent ones are 1 and -0, which leave x_hat as it
// is.
struct Affine {
    lookup: Lookup,
    first_row: u32,      // rows and columns before the window
    first_column: u32,
    // 1 / run, and 1 / wrap or 0 where nothing repeats: quotients of columns below 2^20 by a multiplication
    inverse_run: f32,
    inverse_wrap: f32,
}
const ROW = 0u;          // a parameter a row
const COLUMNS = 1u;      // neighbours in a row have neighbours
const MIXED = 2u;        // runs within a row
override AFFINE: u32 = 1u;
override AFFINE_BASE: bool = false;       // whether rows differ in where their parameters begin
override RUN_OF_VECTORS: bool = false;    // whether the elements of a vector have one parameter

struct Parameters4 {
    first: u32,   // of the row
    scale: f32,
    bias: f32,
    column: u32,  // where in the row those begin that are asked for
}
// What row n of the window has for all its elements.
fn affine_at(n: u32) -> Parameters4 {
    var first = 0u;
    if AFFINE_BASE { first = lookup_row(p.affine.lookup, p.affine.first_row + n); }
    if AFFINE == ROW { return Parameters4(first, load_scale(first), load_bias(first), 0u); }
    return Parameters4(first, 1.0, -0.0, 0u);
}
fn parameter_of(column: u32) -> u32 {
    if AFFINE == COLUMNS { return column; }
    let j = p.affine.first_column + column;
    let run = u32((f32(j) + 0.5) * p.affine.inverse_run);
    return run - p.affine.lookup.wrap * u32((f32(run) + 0.5) * p.affine.inverse_wrap);
}
fn scale4(at: Parameters4, row: Row, j: u32) -> vec4<f32> {
    if AFFINE == ROW { return vec4(at.scale); }
    if AFFINE == COLUMNS && has_vectors() { return load4_scale_at(at.first + at.column, j); }
    let c = min(columns_of(row, j), vec4(row.width - 1u)) + at.column;
    if RUN_OF_VECTORS { return vec4(load_scale(at.first + parameter_of(c.x))); }
    return vec4(load_scale(at.first + parameter_of(c.x)), load_scale(at.first + parameter_of(c.y)),
        load_scale(at.first + parameter_of(c.z)), load_scale(at.first + parameter_of(c.w)));
}
fn bias4(at: Parameters4, row: Row, j: u32) -> vec4<f32> {
    if AFFINE == ROW { return vec4(at.bias); }
    if AFFINE == COLUMNS && has_vectors() { return load4_bias_at(at.first + at.column, j); }
    let c = min(columns_of(row, j), vec4(row.width - 1u)) + at.column;
    if RUN_OF_VECTORS { return vec4(load_bias(at.first + parameter_of(c.x))); }
    return vec4(load_bias(at.first + parameter_of(c.x)), load_bias(at.first + parameter_of(c.y)),
        load_bias(at.first + parameter_of(c.z)), load_bias(at.first + parameter_of(c.w)));
}
