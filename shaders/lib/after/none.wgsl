// What becomes of u = x_hat * scale + bias: the output.
fn give4(row: Row, j: u32, u: vec4<f32>) { store4_output(row, j, u); }
fn give_some4(row: Row, j: u32, live: vec4<bool>, u: vec4<f32>) { store_some4_output(row, j, live, u); }
fn give_halves4(row: Row, j: u32, live: vec4<bool>, u: vec4<f32>) { store_halves4_output(row, j, live, u); }
fn give_words(at: Dealt, u: vec4<f32>) { words4_output(at, u); }
