// What becomes of u = x_hat * scale + bias: the output.
fn give4(row: Row, j: u32, u: vec4<f32>) { store4_output(row, j, u); }
fn give(row: Row, j: u32, e: u32, u: f32) { store_output(row, j, e, u); }
