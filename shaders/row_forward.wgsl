// Forward of segments that lanes hold in registers: one dispatch, every element is read once and written once.
//
//     x = the segment's elements                         VECTORS vectors a lane, all loads at once
//     m = moments of x                                   lib/held/<accumulator>.wgsl; leaves deviations from the mean in place of x
//     y = deviation / divisor(m) * scale + bias          scale and bias looked up when y is stored
//
// Where it departs:
// 1. There is no loop over segments: a group of lanes has one. A loop costs 15 registers, and nothing would be used twice.
// 2. Moments that are out of range (one check a segment: NaN, infinity, squares that overflow or vanish, a first element far out) send
//    the segment into the slow path, which reads it again, in units of the power of two of its largest magnitude. It streams and holds
//    nothing, so that it takes no registers from the fast path.
// 3. Lanes whose segments share barriers (not ROWS_PART) go through the slow path together; the ordinary ones then store as ever.
// 4. Where an infinite scale has to be folded with the mean (FOLDED), y takes the place of x, and is stored once all of the lane's are
//    seen to be finite; a lane that has others computes its elements again.
const SLOTS = 6u;
override SAVE: bool = false;      // whether moments are stored
override PLAIN: bool = false;     // whether the divisor is sqrt(variance + eps), eps a normal number
override FOLDED: bool = false;

struct Measured {
    shift: Sum,
    rest: Sum,
    spread: Sum,  // variance, mean square, mean magnitude, or largest magnitude
}
var<private> held: array<vec4<f32>, VECTORS>;
fn load() { for (var k = 0u; k < VECTORS; k += 1u) { held[k] = input4(k); } }

fn run(group: u32, local: u32) {
    let there = enter(group, local);
    let m = measure();
    var rare = false;
    for (var e = 0u; e < SEGMENTS; e += 1u) {
        // beside an eps a variance of 0 is as good as any that small
        let nothing = PLAIN && abs(part(m.rest, e)) + part(m.spread, e) == 0.0;
        rare |= is_rare_part(m, e) && !nothing;
    }
    if any_lanes(rare) {
        forward_in_units(there && rare);
        if !ROWS_PART && there && !rare { forward(m); }
    } else if there {
        forward(m);
    }
}

// The fast path, from deviations in registers.
fn forward(m: Measured) {
    enter_affine();
    var r: Sum;
    if PLAIN { r = inverseSqrt(m.spread + p.divisor.eps_inside); } else { r = inverses(m); }
    if SAVE { for (var e = 0u; e < SEGMENTS; e += 1u) { save(moments_of(m, e), e); } }
    if !FOLDED {
        for (var k = 0u; k < VECTORS; k += 1u) { output4(k, fma(held[k] * four(r), scale_of(k), bias_of(k))); }
        return;
    }
    var nothing = vec4(0.0);
    for (var k = 0u; k < VECTORS; k += 1u) {
        held[k] = fma(held[k] * four(r), scale_of(k), bias_of(k));
        nothing = fma(held[k], vec4(p.exact.nothing), nothing);
    }
    if all(nothing == vec4(0.0)) {
        for (var k = 0u; k < VECTORS; k += 1u) { output4(k, held[k]); }
    } else {
        for (var k = 0u; k < p.held.turns; k += 1u) { output4(k, affine_carefully(k, input4(k), m, r)); }
    }
}

// An infinite scale by PyTorch's order of operations: x * alpha + (bias - mean * alpha).
fn affine_carefully(k: u32, x: vec4<f32>, m: Measured, r: Sum) -> vec4<f32> {
    let scale = scale_of(k);
    let bias = bias_of(k);
    let alpha = four(r) * scale;
    let plain = fma(deviation4(x, m) * four(r), scale, bias);
    let folded = x * alpha + (bias - four(m.shift + m.rest) * alpha);
    return select(plain, folded, magnitude_bits4(scale) == vec4(p.divisor.folded_scale));
}

// The slow path, by streaming.
fn forward_in_units(stores: bool) {
    var top = Bits(0u);
    for (var k = 0u; k < p.held.turns; k += 1u) {
        top = max(top, largest(select(vec4(0u), magnitude_bits4(input4(k)), live(k))));
    }
    top = max_lanes(top, 2u);
    let unit = units(top);
    let m = measure_in_units(unit, top);
    let r = inverses_in_units(m, unit);
    if stores {
        enter_affine();
        for (var e = 0u; e < SEGMENTS; e += 1u) {
            if SAVE { save(record_times(moments_of(m, e), power_of_two(i32(four_bits(unit)[e]))), e); }
        }
        for (var k = 0u; k < p.held.turns; k += 1u) {
            output4(k, affine_carefully(k, in_units4(input4(k), four_bits(unit)), m, r));
        }
    }
}
