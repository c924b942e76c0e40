// What becomes of v = x_hat * scale + bias: y = factor * act1(v + e) * act2(z) * q + r'. Those that are absent change
// nothing.
struct After {
    factor: f32,
    slope: f32,        // of the activations below 0
    gate_slope: f32,
}
override ACTIVATION: u32 = 0u;
override GATE_ACTIVATION: u32 = 0u;
fn finished4(v: vec4<f32>, e: vec4<f32>, z: vec4<f32>, q: vec4<f32>, r: vec4<f32>) -> vec4<f32> {
    let y = activation4(ACTIVATION, p.after.slope, v + e) * activation4(GATE_ACTIVATION, p.after.gate_slope, z);
    return fma(y * p.after.factor, q, r);
}
fn finish4(row: Row, j: u32, v: vec4<f32>) -> vec4<f32> {
    return finished4(v, load4_addend(row, j), load4_z(row, j), out_gate4(row, j), load4_out_residual(row, j));
}
fn give4(row: Row, j: u32, v: vec4<f32>) { store4_output(row, j, finish4(row, j, v)); }
fn give_some4(row: Row, j: u32, live: vec4<bool>, v: vec4<f32>) {
    if any(live) { store_some4_output(row, j, live, finish4(row, j, v)); }
}
fn give_words(at: Dealt, v: vec4<f32>) {
    var y: vec4<f32>;
    for (var i = 0u; i < 4u; i += 1u) {
        let row = single(at.number[i]);
        y[i] = finished4(vec4(v[i]), vec4(load_addend(row, 0u)), vec4(load_z(row, 0u)), vec4(out_gate1(row, 0u)),
            vec4(load_out_residual(row, 0u))).x;
    }
    words4_output(at, y);
}
