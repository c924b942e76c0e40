// Sums over the lanes of a run, whose segment has lanes of one subgroup: no barrier, also not one that is never
// reached. Browsers refuse those where rows of one subgroup part.
fn sum_run(x: vec2<f32>, local: u32) -> vec2<f32> { return sum2_within(x, exactly(RUN_LANES)); }
