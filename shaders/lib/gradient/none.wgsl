// The gradient to x_hat * scale + bias: the gradient to the output itself.
fn grad4(row: Row, j: u32) -> vec4<f32> { return given4(fetch_grad4(row, j)); }
// What waits in registers, as it is stored.
alias Given = Packed_grad_output;
fn fetch_grad4(row: Row, j: u32) -> Given { return packed4_grad_output(row, j); }
fn given4(g: Given) -> vec4<f32> { return unpacked4_grad_output(g); }
fn grad(row: Row, column: u32) -> f32 { return load_grad_output(row, column); }
