// Moments (shift, rest, deviation, count): x_hat = (x - mean) / root(variance).

// The shift becomes the mean rounded to f32, the rest what that leaves: x - shift is then as small as it can be.
// Opaque, both: compilers make -rest of shift - (shift + rest), and take apart a difference that something is added to.
fn record_center(record: vec4<f32>) -> vec2<f32> {
    let mean = opaque(record.x + record.y);
    return vec2(mean, opaque(record.x - mean) + record.y);
}
fn record_norm(record: vec4<f32>, eps: f32) -> f32 { return root_of_square(record.z, p.divisor.factor, eps); }
// The variance.
fn record_spread(record: vec4<f32>) -> f32 { return record.z * record.z; }
