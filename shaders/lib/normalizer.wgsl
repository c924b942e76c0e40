// x_hat = ((x - shift) - rest) * inverse

struct Normalizer {
    center: vec2<f32>,  // (shift, rest)
    inverse: f32,
}

fn normalizer(acc: vec4<f32>) -> Normalizer {
    return Normalizer(acc_center(acc), inverse(at_least(acc_divisor(acc), params.eps_minimum) + params.eps_added));
}

fn normalized(x: f32, by: Normalizer) -> f32 {
    return difference(difference(x, by.center.x), by.center.y) * by.inverse;
}
