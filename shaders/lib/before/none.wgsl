// What the statistics see of vector j of a row: the input.
fn take4(row: Row, j: u32) -> vec4<f32> { return load4_input(row, j); }
