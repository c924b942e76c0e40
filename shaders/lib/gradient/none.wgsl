// The gradient to x_hat * scale + bias: the gradient to the output itself.
fn grad4(row: Row, j: u32) -> vec4<f32> { return load4_grad_output(row, j); }
fn grad(row: Row, column: u32) -> f32 { return load_grad_output(row, column); }
