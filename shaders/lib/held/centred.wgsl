// Mean and variance of held segments. The shift is the first element of the segment: x - shift is exact or nearly so
// where the mean is large, and 0 where all elements are equal. What is left of x is its deviation from the mean.

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
    return !is_ordinary(variance) || part(m.rest, e) * part(m.rest, e) > 16.0 * variance;
}
fn moments_of(m: Measured, e: u32) -> vec4<f32> {
    return vec4(part(m.shift, e), part(m.rest, e), sqrt(part(m.spread, e)), p.held.len);
}
fn deviation4(x: vec4<f32>, m: Measured) -> vec4<f32> {
    return difference4(difference4(x, four(m.shift)), four(m.rest));
}

// The shift becomes the mean, rounded, unless that is infinite: then so is the rest.
fn measure_in_units(unit: Bits, top: Bits) -> Measured {
    let start = four(first());
    let first_shift = of_four(select(in_units4(start, four_bits(unit)), vec4(0.0),
        magnitude_bits4(start) >= vec4(INFINITY)));
    let mean = mean_in_units(unit, first_shift, 3u);
    let shift = select(first_shift + mean, first_shift, largest(four_bits(top)) >= Bits(INFINITY));
    let rest = mean_in_units(unit, shift, 4u);
    var squares = Sum(0.0);
    for (var k = 0u; k < p.held.turns; k += 1u) {
        let e = deviation4(in_units4(input4(k), four_bits(unit)), Measured(shift, rest, Sum(0.0)));
        squares += total(select(vec4(0.0), e * e, live(k)));
    }
    return Measured(shift, rest, sum_lanes(squares, 5u) * p.held.inverse_len);
}
fn mean_in_units(unit: Bits, shift: Sum, slot: u32) -> Sum {
    var sum = Sum(0.0);
    for (var k = 0u; k < p.held.turns; k += 1u) {
        sum += total(select(vec4(0.0), difference4(in_units4(input4(k), four_bits(unit)), four(shift)), live(k)));
    }
    return sum_lanes(sum, slot) * p.held.inverse_len;
}
