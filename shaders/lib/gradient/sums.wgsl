// Gradient sums of a segment, a record: (sum of g, sum of g * x_hat, unit, count).
//
// The unit is 0 where the sums are plain numbers. Where they, or what they were made of, would overflow or vanish they
// are in units of 2^(unit - ORIGIN), the larger of the two near 1. Where one of them is not finite, the third number is
// the sum of g * x instead.
struct Sums {
    products: u32,   // 1: sums that are not finite enter the gradient by products with x, as they do in PyTorch
}
const ORIGIN = 1024;

fn total(x: vec4<f32>) -> f32 { return (x.x + x.y) + (x.z + x.w); }
fn are_finite(sums: vec4<f32>) -> bool { return is_finite(sums.x) & is_finite(sums.y); }
// Whether nothing that is worth keeping was lost: sums of products that vanished are small themselves. 0 is what it is.
fn keeps(sum: f32) -> bool { return is_ordinary(abs(sum)) | (sum == 0.0); }
fn keep_all(g: f32, g_x_hat: f32) -> bool { return keeps(g) & keeps(g_x_hat); }
// NaN where factors are not 0, and their product is: sums of it are then made again. Else the sum.
fn unless_lost(sum: f32, lost: bool) -> f32 { return select(sum, bitcast<f32>(p.exact.nan), lost); }
fn are_plain(sums: vec4<f32>) -> bool { return (sums.z == 0.0) & keep_all(sums.x, sums.y); }
fn means_of(sums: vec4<f32>) -> vec2<f32> { return select(sums.xy / sums.w, vec2(0.0), sums.w == 0.0); }

// x * 2^power * y, in steps that leave the range of f32 no sooner than the result.
fn scaled_product(x: f32, power: i32, y: f32) -> f32 {
    let up = i32(unit_of(magnitude_bits(y))) - 127;
    let p = clamp(power + up, -252, 252);
    return opaque(x * power_of_two(127 + p / 2)) * (y * power_of_two(127 - up)) * power_of_two(127 + (p - p / 2));
}
fn scaled(x: f32, power: i32) -> f32 { return scaled_product(x, power, 1.0); }
// Exponent of the unit of sums, and of the larger of them.
fn unit_power(sums: vec4<f32>) -> i32 { return select(i32(sums.z) - ORIGIN, 0, (sums.z == 0.0) | !are_finite(sums)); }
fn largest_power(sums: vec4<f32>) -> i32 {
    let top = max(magnitude_bits(sums.x), magnitude_bits(sums.y));
    return select(unit_power(sums) + i32(unit_of(top)) - 127, -ORIGIN, top == 0u);
}
// The record of sums that are in units of 2^power.
fn sums_in_units(sums: vec2<f32>, power: i32, count: f32) -> vec4<f32> {
    let up = i32(unit_of(max(magnitude_bits(sums.x), magnitude_bits(sums.y)))) - 127;
    let unit = select(f32(ORIGIN + power + up), 0.0, all(sums == vec2(0.0)));
    return vec4(sums * power_of_two(127 - up), unit, count);
}
fn plain(sums: vec4<f32>) -> vec2<f32> {
    return vec2(scaled(sums.x, unit_power(sums)), scaled(sums.y, unit_power(sums)));
}
fn sums_merged(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let both = a + b;
    if are_plain(a) & are_plain(b) & are_plain(both) { return both; }
    if !are_finite(a) | !are_finite(b) {
        // one of them may be in units beside one that is not finite
        let xy = plain(a) + plain(b);
        return vec4(xy, select(0.0, a.z, !are_finite(a)) + select(0.0, b.z, !are_finite(b)), both.w);
    }
    let power = max(largest_power(a), largest_power(b));
    let down = vec2(unit_power(a), unit_power(b)) - power;
    return sums_in_units(vec2(scaled(a.x, down.x) + scaled(b.x, down.y), scaled(a.y, down.x) + scaled(b.y, down.y)),
        power, both.w);
}
// Sums of g from those of dy, which a scale is a factor of.
fn sums_times(sums: vec4<f32>, scale: f32) -> vec4<f32> {
    if !are_finite(sums) | !is_finite(scale) { return sums * vec4(vec3(scale), 1.0); }
    let up = i32(unit_of(magnitude_bits(scale))) - 127;
    let down = largest_power(sums) - unit_power(sums);
    let near = vec2(scaled(sums.x, -down), scaled(sums.y, -down)) * (scale * power_of_two(127 - up));
    return sums_in_units(near, unit_power(sums) + down + up, sums.w);
}
// The power of two that gradients are multiplied with, such that their sums are ordinary: of the largest sum of the
// exponent fields of a gradient and of its weight. What is not finite counts for none: it stays so in any unit, and in
// its own all others would vanish.
fn fields4(dy: vec4<f32>, weight: vec4<f32>) -> vec4<u32> {
    let a = magnitude_bits4(dy);
    let b = magnitude_bits4(weight);
    let counts = (a > vec4(0u)) & (b > vec4(0u)) & (max(a, b) < vec4(INFINITY));
    return select(vec4(0u), (a >> vec4(23u)) + (b >> vec4(23u)), counts);
}
fn to_units(top: u32) -> f32 { return power_of_two(clamp(381 - i32(top), 1, 253)); }
// The record of sums of (g, g * x_hat, g * x), of gradients that were multiplied with it.
fn sums_of(sums: vec3<f32>, to_unit: f32, count: f32) -> vec4<f32> {
    let all = vec4(sums, count);
    if !are_finite(all) { return vec4(sums * power_of_two(127 - power_of(to_unit)), count); }
    if to_unit == 1.0 { return vec4(sums.xy, 0.0, count); }
    return sums_in_units(sums.xy, -power_of(to_unit), count);
}
fn power_of(x: f32) -> i32 { return i32(bitcast<u32>(x) >> 23u) - 127; }

// PyTorch's order of evaluation, dx = a * g + b * x + c, which decides where NaN stands if the sums are not finite.
fn products(by: vec4<f32>, sums: vec4<f32>) -> vec3<f32> {
    let a = by.w * by.x;
    let mean = by.y / by.x;
    let b = (sums.x * mean - sums.z) * a * a * a / sums.w;
    return vec3(a, b, -b * mean - sums.x * a / sums.w);
}
