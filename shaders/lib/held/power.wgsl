// Mean of (|x| / largest)^p of held segments, any p: with the largest magnitude factored out (the smallest, of a
// negative p) no power over- or underflows that matters.

const CENTRED = false;

fn measure() -> Measured {
    load();
    var bits = vec4(0u);
    for (var k = 0u; k < VECTORS; k += 1u) {
        bits = max(bits, select(vec4(0u), ranked4(magnitude_bits4(held[k])), live(k)));
    }
    let top = bitcast<Sum>(bits_of(ranked4(four_bits(max_lanes(largest(bits), 0u)))));
    var sum = vec4(0.0);
    for (var k = 0u; k < VECTORS; k += 1u) { sum += select(vec4(0.0), ratios(held[k], four(top)), live(k)); }
    return Measured(top, Sum(0.0), sum_lanes(total(sum), 1u) * p.held.inverse_len);
}
fn ratios(x: vec4<f32>, top: vec4<f32>) -> vec4<f32> {
    let order = p.divisor.order;
    if order == 0.0 { return select(vec4(1.0), vec4(0.0), magnitude_bits4(x) == vec4(0u)); }
    let q = abs(x) / top;
    let powers = vec4(power(q.x, order), power(q.y, order), power(q.z, order), power(q.w, order));
    // infinity by infinity is 1 here; nothing by nothing is nothing
    return select(select(powers, vec4(1.0), magnitude_bits4(x) == magnitude_bits4(top)), vec4(0.0), top == vec4(0.0));
}
fn is_rare_part(m: Measured, e: u32) -> bool { return !is_ordinary(part(m.shift, e)); }
fn moments_of(m: Measured, e: u32) -> vec4<f32> { return vec4(part(m.shift, e), 0.0, part(m.spread, e), p.held.len); }
fn deviation4(x: vec4<f32>, m: Measured) -> vec4<f32> { return x; }

fn measure_in_units(unit: Bits, top: Bits) -> Measured {
    let all = in_units4(bitcast<vec4<f32>>(four_bits(top)), four_bits(unit));
    var sum = Sum(0.0);
    for (var k = 0u; k < p.held.turns; k += 1u) {
        sum += total(select(vec4(0.0), ratios(in_units4(input4(k), four_bits(unit)), all), live(k)));
    }
    return Measured(of_four(all), Sum(0.0), sum_lanes(sum, 3u) * p.held.inverse_len);
}
