// What the statistics see of vector j of a row, and of one element: s = x * m + c + r, where m is a gate or an
// activation of z. Those that are absent change nothing.
struct Before { slope: f32 }   // of the activation below 0
override MULTIPLIER: u32 = 0u; // the activation
fn take4(row: Row, j: u32) -> vec4<f32> {
    return sum4(load4_input(row, j), multiplier4(row, j), prologue_bias4(row, j), load4_residual(row, j));
}
// What waits in registers: the sum, for which all terms are loaded.
alias Taken = vec4<f32>;
fn fetch4(row: Row, j: u32) -> Taken { return take4(row, j); }
fn taken4(s: Taken) -> vec4<f32> { return s; }
fn take(row: Row, column: u32) -> f32 {
    let m = gate1(row, column) * activation4(MULTIPLIER, p.before.slope, vec4(load_z(row, column)));
    return sum4(vec4(load_input(row, column)), m, vec4(prologue_bias1(row, column)),
        vec4(load_residual(row, column))).x;
}
fn multiplier4(row: Row, j: u32) -> vec4<f32> {
    return gate4(row, j) * activation4(MULTIPLIER, p.before.slope, load4_z(row, j));
}
fn sum4(x: vec4<f32>, m: vec4<f32>, c: vec4<f32>, r: vec4<f32>) -> vec4<f32> { return stored4(fma(x, m, c) + r); }
// What is left of it for others.
fn keep4(row: Row, j: u32, live: vec4<bool>, s: vec4<f32>) {
    if all(live) { store4_sum(row, j, s); } else { store_some4_sum(row, j, live, s); }
}
fn keep_words(at: Dealt, s: vec4<f32>) { words4_sum(at, s); }
