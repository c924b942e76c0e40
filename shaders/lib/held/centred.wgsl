// Mean and variance of held segments. The shift is the first element of the segment: x - shift is exact or nearly so
// where the mean is large, and 0 where all elements are equal. What is left of x is its deviation from the mean.
const CENTRED = true;
fn measure() -> Measured {
    let shift = first();
    load();
    var sum = vec4(0.0);
    for (var k = 0u; k < VECTORS; k += 1u) {
        held[k] = select(vec4(0.0), difference4(held[k], four(shift)), live(k));
        sum += held[k];
    }
    let rest = sum_lanes(total(sum), 0u) * p.held.inverse_len;
    var squares = vec4(0.0);
    for (var k = 0u; k < VECTORS; k += 1u) {
        held[k] = difference4(held[k], select(vec4(0.0), four(rest), live(k)));
        squares = fma(held[k], held[k], squares);
    }
    return Measured(shift, rest, sum_lanes(total(squares), 1u) * p.held.inverse_len);
}
// Also where the first element is an outlier: the rounding of the mean would be seen in gradients.
fn is_rare_part(m: Measured, e: u32) -> bool {
    let variance = part(m.spread, e);
    return !is_ordinary(variance) | (part(m.rest, e) * part(m.rest, e) > 16.0 * variance);
}
fn moments_of(m: Measured, e: u32) -> vec4<f32> {
    return vec4(part(m.shift, e), part(m.rest, e), sqrt(part(m.spread, e)), p.held.len);
}
fn deviation4(x: vec4<f32>, m: Measured) -> vec4<f32> {
    return difference4(difference4(x, four(m.shift)), four(m.rest));
}

// Three means, one after the other: of x - shift, whereby the shift becomes the mean, rounded, unless that is infinite;
// of what is left, which is the rest; of the squares of what is left then. One loop for all: it is the slow path.
fn measure_in_units(unit: Bits, top: Bits) -> Measured {
    let start = four(first());
    let finite = select(in_units4(start, four_bits(unit)), vec4(0.0), magnitude_bits4(start) >= vec4(INFINITY));
    var m = Measured(of_four(finite), Sum(0.0), Sum(0.0));
    for (var step = p.exact.zero; step < 3u; step += 1u) {
        var sum = Sum(0.0);
        for (var k = 0u; k < p.held.turns; k += 1u) {
            let e = deviation4(in_units4(input4(k), four_bits(unit)), m);
            sum += total(select(vec4(0.0), select(e, e * e, step == 2u), live(k)));
        }
        let mean = sum_lanes(sum, 3u + step % 2u) * p.held.inverse_len;
        if step == 0u { m.shift = select(m.shift + mean, m.shift, largest(four_bits(top)) >= Bits(INFINITY)); }
        if step == 1u { m.rest = mean; }
        if step == 2u { m.spread = mean; }
    }
    return m;
}
