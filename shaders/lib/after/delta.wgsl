// The way back through y = factor * act1(v + e) * act2(z) * q + r', from the gradient to y:
//
//   d = grad_output * factor * q;   dv = de = d * act1'(v + e) * act2(z);   dz = d * act1(v + e) * act2'(z)
//   core = factor * act1(v + e) * act2(z), whose products with grad_output add up to dq
//
// The output is dv, the gradient that the norm's own way back starts from.
struct After {
    factor: f32,
    slope: f32,        // of the activations below 0
    gate_slope: f32,
}
override ACTIVATION: u32 = 0u;
override GATE_ACTIVATION: u32 = 0u;
struct Delta { v: vec4<f32>, z: vec4<f32>, core: vec4<f32> }
fn delta4(v: vec4<f32>, g: vec4<f32>, e: vec4<f32>, z: vec4<f32>, q: vec4<f32>) -> Delta {
    let t = v + e;
    let y = activation4(ACTIVATION, p.after.slope, t);
    let w = activation4(GATE_ACTIVATION, p.after.gate_slope, z);
    let d = g * p.after.factor * q;
    return Delta(d * activation_slope4(ACTIVATION, p.after.slope, t) * w,
        d * y * activation_slope4(GATE_ACTIVATION, p.after.gate_slope, z), p.after.factor * y * w);
}
fn delta_of(row: Row, j: u32, v: vec4<f32>) -> Delta {
    return delta4(v, load4_grad_output(row, j), load4_addend(row, j), load4_z(row, j), out_gate4(row, j));
}
fn give4(row: Row, j: u32, v: vec4<f32>) {
    let d = delta_of(row, j, v);
    store4_output(row, j, d.v);
    store4_grad_addend(row, j, d.v);
    store4_grad_z(row, j, d.z);
    store4_core(row, j, d.core);
}
fn give_some4(row: Row, j: u32, live: vec4<bool>, v: vec4<f32>) {
    if !any(live) { return; }
    let d = delta_of(row, j, v);
    store_some4_output(row, j, live, d.v);
    store_some4_grad_addend(row, j, live, d.v);
    store_some4_grad_z(row, j, live, d.z);
    store_some4_core(row, j, live, d.core);
}
fn give_words(at: Dealt, v: vec4<f32>) {
    var all: Delta;
    for (var i = 0u; i < 4u; i += 1u) {
        let row = single(at.number[i]);
        let d = delta4(vec4(v[i]), vec4(load_grad_output(row, 0u)), vec4(load_addend(row, 0u)), vec4(load_z(row, 0u)),
            vec4(out_gate1(row, 0u)));
        all.v[i] = d.v.x;
        all.z[i] = d.z.x;
        all.core[i] = d.core.x;
    }
    words4_output(at, all.v);
    words4_grad_addend(at, all.v);
    words4_grad_z(at, all.z);
    words4_core(at, all.core);
}
