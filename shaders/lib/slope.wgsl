// What a segment's sums take from the gradients of its elements: through the mean, through the divisor, and whose norm that is.
struct Pull {
    mean: vec4<f32>,
    share: vec4<f32>,
    norm: vec4<f32>,
}

// n * d divisor / dx at x_hat = 1, for divisors made of a root: factor * divisor / root; 0 where the minimum rules, and at a
// root of 0, where the divisor is what is added to it.
fn divisor_slope(record: vec4<f32>) -> f32 {
    if p.divisor.eps_added == 0.0 && p.divisor.eps_minimum == 0.0 { return p.divisor.factor; }
    let divisor = record_divisor(record);
    if divisor < p.divisor.eps_minimum || divisor == 0.0 { return 0.0; }
    return p.divisor.factor * ((divisor + p.divisor.eps_added) / divisor);
}
