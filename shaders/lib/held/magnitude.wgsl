// Mean magnitude of held segments (p = 1).

const CENTRED = false;

fn measure() -> Measured {
    load();
    var sum = vec4(0.0);
    for (var k = 0u; k < VECTORS; k += 1u) { sum += select(vec4(0.0), abs(held[k]), live(k)); }
    return Measured(Sum(0.0), Sum(0.0), sum_lanes(total(sum), 0u) * p.held.inverse_len);
}
fn is_rare_part(m: Measured, e: u32) -> bool { return !is_ordinary(part(m.spread, e)); }
fn moments_of(m: Measured, e: u32) -> vec4<f32> { return vec4(0.0, 0.0, part(m.spread, e), p.held.len); }
fn deviation4(x: vec4<f32>, m: Measured) -> vec4<f32> { return x; }

fn measure_in_units(unit: Bits, top: Bits) -> Measured {
    var sum = Sum(0.0);
    for (var k = 0u; k < p.held.turns; k += 1u) {
        sum += total(select(vec4(0.0), abs(in_units4(input4(k), four_bits(unit))), live(k)));
    }
    return Measured(Sum(0.0), Sum(0.0), sum_lanes(sum, 3u) * p.held.inverse_len);
}
