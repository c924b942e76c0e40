// A reduction of the values of a tensor, to moments: see README.md. What the moments are says lib/moments/.

// Everything is relative to a shift, an element of the segment, which all its slices share: x - shift is exact or
// nearly so where the mean is large. A second attempt is in units, such that squares neither overflow nor vanish: x *
// to_unit - shift * to_unit.
struct Known {
    shift: Sum,       // what is not finite: the sum of all that is not
    to_unit: Sum,     // 1, or 2^-unit
    from_shift: Sum,  // -shift * to_unit
}
alias Fetched = Taken;

fn known_at(n: u32, row: Row, j: u32) -> Known {
    if !CENTRED { return Known(Sum(0.0), Sum(1.0), Sum(0.0)); }
    let typical = typical_of(row, j);
    // a shift that is not finite would make NaN of the mean, which may be infinite
    let shift = select(typical, Sum(0.0), (bitcast<Bits>(typical) & Bits(INFINITY)) == Bits(INFINITY));
    return Known(shift, Sum(1.0), -shift);
}
fn fetch(n: u32, row: Row, j: u32) -> Fetched { return fetch4(row, j); }

// For the second attempt: the largest exponents, and the sum of what is not finite.
struct Extremes { exponent: vec4<u32>, infinite: vec4<f32> }
fn extremes_none() -> Extremes { return Extremes(vec4(0u), vec4(0.0)); }
fn extremes_push(e: Extremes, fetched: Fetched, live: vec4<bool>) -> Extremes {
    let x = taken4(fetched);
    let exponent = select(vec4(0u), magnitude_bits4(x) >> vec4(23u), live);
    return Extremes(max(e.exponent, exponent), e.infinite + select(vec4(0.0), x, exponent == vec4(255u)));
}
fn joined(first: Whole, again: Whole, attempt: u32) -> Whole { return again; }
fn known_again(known: Known, e: Extremes, attempt: u32) -> Known {
    let first = (bitcast<Bits>(known.shift) >> Bits(23u)) & Bits(255u);
    // a difference reaches twice the range
    let unit = clamp(max(max_all(e.exponent, 3u), first), Bits(2u), Bits(252u)) + Bits(1u);
    let to_unit = bitcast<Sum>((Bits(254u) - unit) << Bits(23u));
    let infinite = sum_all(e.infinite, 4u);
    let shift = select(infinite, known.shift, infinite == Sum(0.0));
    return Known(shift, to_unit, bitcast<Sum>(bitcast<Bits>(-shift * to_unit) ^ Bits(p.exact.zero)));
}
// The unit of segment e, and 2^unit.
fn unit_in(known: Known, e: u32) -> i32 { return 254 - i32(bitcast<u32>(component(known.to_unit, e)) >> 23u); }
fn from_unit(known: Known, e: u32) -> f32 {
    return bitcast<f32>((254u << 23u) - bitcast<u32>(component(known.to_unit, e)));
}
