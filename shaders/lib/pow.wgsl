// x^y for x >= 0 within a few units in the last place, where the built-in `pow` may be off by 1e-5.
//
// log2(x) = exponent + log2(mantissa), the mantissa in [sqrt(1/2), sqrt(2)); log2 from the series of atanh, the product
// with y split into a whole and a fractional part, 2^fraction from its Taylor series.

fn log2_mantissa(m: f32) -> f32 {
    let s = (m - 1.0) / (m + 1.0);
    let q = s * s;
    // 2 / ln 2 * (1, 1/3, 1/5, 1/7, 1/9, 1/11): the next term is below 1e-10 at |s| <= 0.1716
    let series = 2.8853900817779268 + q * (0.9617966939259756 + q * (0.5770780163555854 + q * (0.4121985831111324
        + q * (0.3205988979753252 + q * 0.2623081892525388))));
    return s * series;
}

fn exp2_fraction(f: f32) -> f32 {
    // (ln 2)^k / k! for k = 0..7: the next term is below 1e-8 at |f| <= 0.5
    return 1.0 + f * (0.6931471805599453 + f * (0.2402265069591007 + f * (0.0555041086648216 + f * (0.0096181291076285
        + f * (0.0013333558146428 + f * (0.0001540353039338 + f * 0.0000152527338041))))));
}

fn power(x: f32, y: f32) -> f32 {
    let bits = bitcast<u32>(x);
    let infinity = bitcast<f32>(INFINITY | p.exact.zero);
    if bits == 0u { return select(0.0, infinity, y < 0.0); }
    if bits >= INFINITY { return select(x, 0.0, y < 0.0 && bits == INFINITY); }
    // a denormal is scaled up first, by 2^24
    let small = bits < 0x00800000u;
    let scaled = bitcast<u32>(select(x, x * 16777216.0, small));
    var exponent = i32(scaled >> 23u) - 127 - select(0, 24, small);
    var mantissa = bitcast<f32>((scaled & 0x007fffffu) | 0x3f800000u);
    if mantissa > 1.4142135 { mantissa *= 0.5; exponent += 1; }
    let whole_part = y * f32(exponent);
    let part = y * log2_mantissa(mantissa);
    let whole = round(whole_part + part);
    if whole > 127.0 { return infinity; }
    if whole < -126.0 { return 0.0; }
    let fraction = difference(whole_part, whole) + part;
    return ldexp(exp2_fraction(fraction), i32(whole));
}
