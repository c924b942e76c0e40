// The moments of a segment, which are in units of a power of two, are stored.
const SAVE = true;
fn save_all(m: Measured, unit: vec4<u32>) {
    for (var e = 0u; e < SEGMENTS; e += 1u) { save(record_from_units(moments_of(m, e), unit[e]), e); }
}
