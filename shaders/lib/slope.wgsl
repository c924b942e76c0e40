// What the sums of a segment do to the gradients of its elements, of four segments: see slopes/centred.wgsl.
struct Pull4 {
    less: vec4<f32>,   // -mean(g) * r, where g is not yet less its mean
    share: vec4<f32>,
    other: vec4<f32>,
}

// n * d divisor / dx at x_hat = 1, for divisors made of a root: factor * divisor / root; 0 where the minimum rules, and
// at a root of 0, where the divisor is what is added to it.
fn divisor_slope(record: vec4<f32>) -> f32 {
    if PLAIN { return 1.0; }
    let norm = record_divisor(record);
    let nothing = (norm == 0.0) & (p.divisor.eps_added + p.divisor.eps_minimum > 0.0);
    if (norm < p.divisor.eps_minimum) | nothing { return 0.0; }
    return p.divisor.factor * select(1.0, 1.0 + p.divisor.eps_added / norm, p.divisor.eps_added > 0.0);
}
