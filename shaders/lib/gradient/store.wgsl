// Storing the gradient to the input: whole vectors where every row is made of such, else by element.
fn give_gradient4(row: Row, j: u32, live: vec4<bool>, u: vec4<f32>) {
    if has_vectors() {
        if live.x { store4_grad_input(row, j, u); }
        return;
    }
    store_some4_grad_input(row, j, live, u);
}
fn give_gradient_words(at: Dealt, u: vec4<f32>) { words4_grad_input(at, u); }
