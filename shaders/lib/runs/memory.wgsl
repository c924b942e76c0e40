// Sums over the lanes of a run, in memory where they are no cluster. Uniform control flow.
var<workgroup> run_words: array<vec2<f32>, WORKGROUP>;
fn sum_run(x: vec2<f32>, local: u32) -> vec2<f32> {
    if RUN_LANES <= cluster() { return sum2_within(x, exactly(RUN_LANES)); }
    workgroupBarrier();
    run_words[local] = x;
    for (var half = RUN_LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane_vector(0u) < half { run_words[local] += run_words[local + half]; }
    }
    return run_words[local];
}
