// Largest magnitude of held segments (p = infinity; of order -infinity the smallest), and how many elements have it.
// Bits are compared, so that a NaN stays.

const CENTRED = false;

fn measure() -> Measured {
    load();
    var top = vec4(0u);
    for (var k = 0u; k < VECTORS; k += 1u) {
        top = max(top, select(vec4(0u), ranked4(magnitude_bits4(held[k])), live(k)));
    }
    let all = bits_of(ranked4(four_bits(max_lanes(largest(top), 0u))));
    if !SAVE { return Measured(Sum(0.0), Sum(0.0), bitcast<Sum>(all)); }
    var ties = vec4(0.0);
    for (var k = 0u; k < VECTORS; k += 1u) {
        ties += select(vec4(0.0), vec4(1.0), (magnitude_bits4(held[k]) == four_bits(all)) & live(k));
    }
    return Measured(Sum(0.0), sum_lanes(total(ties), 1u), bitcast<Sum>(all));
}
fn is_rare_part(m: Measured, e: u32) -> bool { return !is_ordinary(part(m.spread, e)); }
fn moments_of(m: Measured, e: u32) -> vec4<f32> { return vec4(0.0, part(m.rest, e), part(m.spread, e), p.held.len); }
fn deviation4(x: vec4<f32>, m: Measured) -> vec4<f32> { return x; }

fn measure_in_units(unit: Bits, top: Bits) -> Measured {
    var ties = Sum(0.0);
    for (var k = 0u; k < p.held.turns; k += 1u) {
        let same = (magnitude_bits4(input4(k)) == four_bits(top)) & live(k);
        ties += total(select(vec4(0.0), vec4(1.0), same));
    }
    let all = in_units4(bitcast<vec4<f32>>(four_bits(top)), four_bits(unit));
    return Measured(Sum(0.0), sum_lanes(ties, 3u), of_four(all));
}
