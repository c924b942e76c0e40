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
// 3. Lanes that share barriers go through the slow path together; segments that are ordinary, or zeros, keep moments.
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

// Whether moments may have lost something. Where nothing differs they have not, unless differences may have vanished.
fn is_rare(m: Measured, e: u32) -> bool {
    let still = LOSES_NOTHING & (abs(part(m.rest, e)) + part(m.spread, e) == 0.0);
    return is_rare_part(m, e) & !(still & (!CENTRED | (magnitude_bits(part(m.shift, e)) > 0x30800000u)));
}

fn run(group: u32, local: u32) {
    let there = enter(group, local);
    let m = measure();
    var rare = false;
    for (var e = 0u; e < SEGMENTS; e += 1u) { rare |= is_rare(m, e); }
    if any_lanes(rare) { forward_again(there, m); } else { forward(there, m); }
}

// The slow path, by streaming: in units, or with moments that are good. Those of nothing but zeros are.
fn forward_again(stores: bool, ordinary: Measured) {
    var top = Bits(0u);
    for (var k = 0u; k < p.held.turns; k += 1u) {
        top = max(top, largest(select(vec4(0u), ranked4(magnitude_bits4(input4(k))), live(k))));
    }
    top = bits_of(ranked4(four_bits(max_lanes(top, 2u))));
    var lost = false;
    for (var e = 0u; e < SEGMENTS; e += 1u) {
        // by its bits: of a denormal number a device may make 0
        let something = part(select(Sum(0.0), Sum(1.0), top != Bits(0u)), e) > 0.0;
        lost |= is_rare(ordinary, e) & (!CENTRED | something);
    }
    var unit = Bits(127u);
    var m = ordinary;
    var r = four(inverses(m));
    if any_lanes(lost) {
        let own = units(bits_of(extent4(four_bits(top))));
        let again = measure_in_units(own, top);
        let inverse = four(inverses_in_units(again, own));
        if lost { unit = own; m = again; r = inverse; }
    }
    forward_streaming(stores, m, r, unit);
}
