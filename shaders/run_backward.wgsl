// Backward of contiguous segments in registers, whose runs have a scale and bias each: x and grad_output are read once.
//
//   for each segment (a group of LANES lanes; RUN_LANES of them a run, RUNS runs a lane, one after the other)
//       x_hat = (x - mean) * r                                       the normalizer r is made of the segment's moments
//       sums of g and g * x_hat, of each run                         g: the gradient to the output
//       means of g and g * x_hat over the segment                    of the runs' sums, times their scales
//       grad_input = (g - mean(g) - x_hat * mean(g * x_hat) * slope) * r
//   partials[run] = its sums                                         16 bytes a run; merge_sums adds them up
//
// Departures:
// 1. Where a segment has one scale (SCALE_LAST) that is a factor of the result, and the sums are without it.
// 2. A segment whose sums overflow or vanish is done again by streaming, lib/run_again.wgsl: it is not stored before.
//    Its number is unknown to the compiler there, so that nothing of the first attempt stays in registers for it.
// 3. Segments of one run of an odd number of halves are written two by two (lib/runs/pairs.wgsl).
// bindings: parameters, input, grad_output, moments, [scale] (read), [grad_input], [partials] (write)

struct RunBackward {
    segments: u32,
    runs: u32,         // of a segment
    width: u32,        // elements of a run
    inverse_len: f32,  // 1 / elements of a segment
    len: f32,
}
const SLOTS = 2u;
alias Tile = array<vec4<f32>, RUNS * VECTORS>;
override RUN_LANES: u32 = 32u;
override FULL: bool = false;             // every lane's vectors are whole and the run's
override MAPS: bool = true;              // grad_input is wanted
override SUMS: bool = true;              // grad_scale or grad_bias is wanted

// Run t of a lane: number in its segment, row, weight.
fn run_at(t: u32) -> u32 { return me.lane / RUN_LANES + t * (LANES / RUN_LANES); }
fn is_run(t: u32) -> bool { return run_at(t) < p.run_backward.runs; }
fn number_of(segment: u32, t: u32) -> u32 {
    return segment * p.run_backward.runs + min(run_at(t), p.run_backward.runs - 1u);
}
fn row_of(segment: u32, t: u32) -> Row {
    return row_at(number_of(segment, t) * p.run_backward.width, p.run_backward.width);
}
fn scale_of(segment: u32, t: u32) -> f32 { return affine_at(number_of(segment, t)).scale; }
fn lane_vector(v: u32) -> u32 { return me.lane % RUN_LANES + v * RUN_LANES; }
fn vector_of(row: Row, v: u32) -> u32 { return select(clamped(row, lane_vector(v)), lane_vector(v), FULL); }
fn is_here(row: Row, t: u32, v: u32) -> vec4<bool> {
    if FULL { return vec4(true); }
    return live4(row, lane_vector(v)) & vec4(is_run(t));
}

fn run(group: u32, local: u32) {
    enter_lanes(local);
    let segment = min(group * (WORKGROUP / LANES) + me.group, p.run_backward.segments - 1u);
    let there = group * (WORKGROUP / LANES) + me.group < p.run_backward.segments;
    let record = load_moments(segment);
    var packed_x: array<Taken, RUNS * VECTORS>;
    var packed_g: array<Given, RUNS * VECTORS>;
    for (var t = 0u; t < RUNS; t += 1u) {
        let row = row_of(segment, t);
        for (var v = 0u; v < VECTORS; v += 1u) {
            packed_x[t * VECTORS + v] = fetch4(row, vector_of(row, v));
            packed_g[t * VECTORS + v] = fetch_grad4(row, vector_of(row, v));
        }
    }
    var x: Tile;   // then what `pulled4` takes of it
    var g: Tile;   // then the gradient to x
    var scale: array<f32, RUNS>;
    for (var t = 0u; t < RUNS; t += 1u) { scale[t] = scale_of(segment, t); }
    let one = normalizer(record);
    let slope = slope(record, one);
    let by = splat_normalizer(one);
    var sums: array<vec2<f32>, RUNS>;
    var own = vec2(0.0);
    for (var t = 0u; t < RUNS; t += 1u) {
        let row = row_of(segment, t);
        var sum_g = vec4(0.0);
        var sum_g_x_hat = vec4(0.0);
        for (var v = 0u; v < VECTORS; v += 1u) {
            let k = t * VECTORS + v;
            let here = is_here(row, t, v);
            x[k] = select(vec4(0.0), kept4(taken4(packed_x[k]), by), here);
            g[k] = select(vec4(0.0), given4(packed_g[k]), here);
            sum_g += g[k];
            sum_g_x_hat = fma(g[k], hat_of_kept4(x[k], by), sum_g_x_hat);
        }
        sums[t] = vec2(total(sum_g), total(sum_g_x_hat));
        let weighed = sums[t] * select(scale[t], 1.0, SCALE_LAST);
        let lost = any((weighed == vec2(0.0)) & (sums[t] != vec2(0.0))) & (scale[t] != 0.0);
        own += vec2(unless_lost(weighed.x, lost), weighed.y);
    }
    let whole = sum2_lanes(own, 0u);
    let means = whole * p.run_backward.inverse_len;
    let ordinary = agreed(is_common(vec4(whole, 0.0, 0.0), means, one));
    for (var t = 0u; t < RUNS && SUMS; t += 1u) {
        var sum = whole;
        if RUN_LANES != LANES || !SCALE_LAST { sum = sum_run(sums[t], local); }
        if ordinary & there & is_run(t) & (lane_vector(0u) == 0u) {
            store_partials(number_of(segment, t), vec4(sum, 0.0, f32(p.run_backward.width)));
        }
    }
    if MAPS {
        let pull = Pull4(vec4(0.0), -means.y * slope.x * by.r, slope.yyyy);
        for (var k = 0u; k < RUNS * VECTORS; k += 1u) {
            let weight = scale[k / VECTORS];
            let weighed = select(g[k] * weight, g[k], SCALE_LAST);
            let shifted = select(weighed, weighed - means.x, SHIFTS);
            var u = pulled4(shifted, x[k], by.r, pull);
            if !PLAIN { u *= by.k; }
            g[k] = select(u, u * weight, SCALE_LAST);
        }
        store_runs(ordinary & there, segment, &g);
    }
    if any_lanes(!ordinary) { segment_again(segment + p.exact.zero, there & !ordinary, local); }
}
