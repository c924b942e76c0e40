// From the gradient u to the sum s = x * m + c + r to those of its terms: ds = u + what arrives at s; dr = ds;
// dx = ds * m; dz = ds * x * act'(z) where m is an activation of z. x is `multiplied` here.
struct Before { slope: f32 }   // of the activation below 0
override MULTIPLIER: u32 = 0u; // the activation
struct Terms { s: vec4<f32>, x: vec4<f32>, z: vec4<f32> }
fn terms4(u: vec4<f32>, arriving: vec4<f32>, gate: vec4<f32>, z: vec4<f32>, x: vec4<f32>) -> Terms {
    let s = u + arriving;
    let m = gate * activation4(MULTIPLIER, p.before.slope, z);
    return Terms(s, s * m, s * x * activation_slope4(MULTIPLIER, p.before.slope, z));
}
fn give_gradient4(row: Row, j: u32, live: vec4<bool>, u: vec4<f32>) {
    if !any(live) { return; }
    let d = terms4(u, load4_arriving(row, j), gate4(row, j), load4_z(row, j), load4_multiplied(row, j));
    if has_vectors() {
        store4_grad_residual(row, j, d.s);
        store4_grad_z(row, j, d.z);
        store4_grad_input(row, j, d.x);
        return;
    }
    store_some4_grad_residual(row, j, live, d.s);
    store_some4_grad_z(row, j, live, d.z);
    store_some4_grad_input(row, j, live, d.x);
}
fn give_gradient_words(at: Dealt, u: vec4<f32>) {
    var all: Terms;
    for (var i = 0u; i < 4u; i += 1u) {
        let row = single(at.number[i]);
        let d = terms4(vec4(u[i]), vec4(load_arriving(row, 0u)), vec4(gate1(row, 0u)), vec4(load_z(row, 0u)),
            vec4(load_multiplied(row, 0u)));
        all.s[i] = d.s.x;
        all.x[i] = d.x.x;
        all.z[i] = d.z.x;
    }
    words4_grad_residual(at, all.s);
    words4_grad_z(at, all.z);
    words4_grad_input(at, all.x);
}
