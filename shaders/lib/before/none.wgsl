// What the statistics see of vector j of a row, and of one element: the input.
fn take4(row: Row, j: u32) -> vec4<f32> { return load4_input(row, j); }
fn take(row: Row, column: u32) -> f32 { return load_input(row, column); }
// What is left of it for others.
fn keep4(row: Row, j: u32, live: vec4<bool>, s: vec4<f32>) {}
fn keep_words(at: Dealt, s: vec4<f32>) {}
