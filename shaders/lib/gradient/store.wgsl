// Storing the gradient to the input: whole vectors where every row is made of such, else by element.
fn give_gradient4(row: Row, j: u32, live: vec4<bool>, u: vec4<f32>) {
    if has_vectors() {
        if live.x { store4_grad_input(row, j, u); }
        return;
    }
    if live.x { store_grad_input(row, j, 0u, u.x); }
    if live.y { store_grad_input(row, j, 1u, u.y); }
    if live.z { store_grad_input(row, j, 2u, u.z); }
    if live.w { store_grad_input(row, j, 3u, u.w); }
}
