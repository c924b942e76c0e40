// Any divisor of lib/divisor.wgsl.
const LOSES_NOTHING = false;
fn inverses(m: Measured) -> Sum {
    if SEGMENTS == 1u { return of_four(vec4(inverse_of(m, 0u))); }
    return of_four(vec4(inverse_of(m, 0u), inverse_of(m, 1u), inverse_of(m, 2u), inverse_of(m, 3u)));
}
fn inverse_of(m: Measured, e: u32) -> f32 { return record_inverse(moments_of(m, e)); }
