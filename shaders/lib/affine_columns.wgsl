// Scale and bias where neighbours in a row have neighbours, the same ones in every row. Absent ones are 1 and -0.
struct Parameters4 { column: u32 }  // where in the row those begin that are asked for
fn affine_at(n: u32) -> Parameters4 { return Parameters4(0u); }
fn column_of(at: Parameters4, row: Row, j: u32) -> vec4<u32> {
    return min(columns_of(row, j), vec4(row.width - 1u)) + at.column;
}
fn scale4(at: Parameters4, row: Row, j: u32) -> vec4<f32> {
    if has_vectors() { return load4_scale_at(at.column, j); }
    let c = column_of(at, row, j);
    return vec4(load_scale(c.x), load_scale(c.y), load_scale(c.z), load_scale(c.w));
}
fn bias4(at: Parameters4, row: Row, j: u32) -> vec4<f32> {
    if has_vectors() { return load4_bias_at(at.column, j); }
    let c = column_of(at, row, j);
    return vec4(load_bias(c.x), load_bias(c.y), load_bias(c.z), load_bias(c.w));
}
