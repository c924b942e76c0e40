// Forward of segments that lanes hold in registers: one dispatch, every element is read once and written once.
//
//     x = the segment's elements                         VECTORS vectors a lane, all loads at once
//     m = moments of x                                   lib/held/<accumulator>.wgsl; x becomes its deviation
//     y = deviation / divisor(m) * scale + bias          lib/held/store.wgsl: scale and bias looked up when y is stored
//
// Where it departs:
// 1. There is no loop over segments: it costs 15 registers, and nothing would be used twice.
// 2. Moments that are out of range (one check a segment: NaN, infinity, squares that overflow or vanish, a first
//    element far out) send the segment into the slow path, which reads it again, in units of the power of two of its
//    largest magnitude. It streams and holds nothing, so that it takes no registers from the fast path.
// 3. Lanes whose segments share barriers go through the slow path together; the ordinary ones keep their moments.
// 4. Rows of an odd number of halves are written two by two (lib/held/pairs.wgsl).
//
// Workgroups: rows, WORKGROUP / lanes of them (lib/held/row.wgsl), or tiles of columns (lib/held/tile.wgsl).
// Bindings: input, scale, bias (read); output, moments (written).
const SLOTS = 5u;
struct Measured {
    shift: Sum,
    rest: Sum,
    spread: Sum,  // variance, mean square, mean magnitude, or largest magnitude
}
var<private> held: array<vec4<f32>, VECTORS>;
fn load() {
    var packed: array<Taken, VECTORS>;
    for (var k = 0u; k < VECTORS; k += 1u) { packed[k] = fetched(k); }
    for (var k = 0u; k < VECTORS; k += 1u) { held[k] = taken4(packed[k]); keep(k, held[k]); }
}

// Whether a lane has anything but zeros of a segment whose elements do not differ from its first, which is 0: from
// memory, as all that is rare.
fn holds_something(e: u32) -> bool {
    var bits = Bits(0u);
    for (var k = 0u; k < p.held.turns; k += 1u) { bits = max(bits, largest(magnitude_bits4(input4(k)))); }
    // by its bits: of a denormal number a device may make 0
    return part(select(Sum(0.0), Sum(1.0), bits != Bits(0u)), e) > 0.0;
}

fn run(group: u32, local: u32) {
    let there = enter(group, local);
    let m = measure();
    var rare = false;
    var needed = false;
    for (var e = 0u; e < SEGMENTS; e += 1u) {
        let shift = magnitude_bits(part(m.shift, e));
        let still = LOSES_NOTHING & (abs(part(m.rest, e)) + part(m.spread, e) == 0.0);
        // of a shift so small that differences, or their mean, may have vanished, something may be left
        let is_rare = is_rare_part(m, e) & !(still & (!CENTRED | (shift > 0x30800000u)));
        rare |= is_rare;
        if is_rare { needed |= !(CENTRED & still & (shift == 0u)) || holds_something(e); }
    }
    if any_lanes(needed) { forward_again(there, rare, m); } else { forward(there, m); }
}

// The slow path, by streaming: in units, or with moments that are good.
fn forward_again(stores: bool, rare: bool, ordinary: Measured) {
    var top = Bits(0u);
    for (var k = 0u; k < p.held.turns; k += 1u) {
        top = max(top, largest(select(vec4(0u), ranked4(magnitude_bits4(input4(k))), live(k))));
    }
    top = bits_of(ranked4(four_bits(max_lanes(top, 2u))));
    var unit = units(bits_of(extent4(four_bits(top))));
    var m = measure_in_units(unit, top);
    var r = four(inverses_in_units(m, unit));
    if !rare { unit = Bits(127u); m = ordinary; r = four(inverses(m)); }
    forward_streaming(stores, m, r, unit);
}
