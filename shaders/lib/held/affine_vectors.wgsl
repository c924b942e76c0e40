// Scale and bias of vectors, the same ones in every row. Absent ones are 1 and -0.
struct Parameters4 { column: u32 }  // where in the row those begin that are asked for
fn affine_at(n: u32) -> Parameters4 { return Parameters4(0u); }
fn scale4(at: Parameters4, row: Row, j: u32) -> vec4<f32> { return load4_scale_at(at.column, j); }
fn bias4(at: Parameters4, row: Row, j: u32) -> vec4<f32> { return load4_bias_at(at.column, j); }
