// Mean square of held segments.

const CENTRED = false;

fn measure() -> Measured {
    load();
    var squares = vec4(0.0);
    for (var k = 0u; k < VECTORS; k += 1u) {
        held[k] = select(vec4(0.0), held[k], live(k));
        squares = fma(held[k], held[k], squares);
    }
    return Measured(Sum(0.0), Sum(0.0), sum_lanes(total(squares), 0u) * p.held.inverse_len);
}
fn is_rare_part(m: Measured, e: u32) -> bool { return !is_ordinary(part(m.spread, e)); }
fn moments_of(m: Measured, e: u32) -> vec4<f32> { return vec4(0.0, 0.0, sqrt(part(m.spread, e)), p.held.len); }
fn deviation4(x: vec4<f32>, m: Measured) -> vec4<f32> { return x; }

fn measure_in_units(unit: Bits, top: Bits) -> Measured {
    var squares = Sum(0.0);
    for (var k = 0u; k < p.held.turns; k += 1u) {
        let x = in_units4(input4(k), four_bits(unit));
        squares += total(select(vec4(0.0), x * x, live(k)));
    }
    return Measured(Sum(0.0), Sum(0.0), sum_lanes(squares, 3u) * p.held.inverse_len);
}
