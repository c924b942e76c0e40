// What the statistics see of vector j of a row, and of one element: the input.
fn take4(row: Row, j: u32) -> vec4<f32> { return taken4(fetch4(row, j)); }
// What waits in registers, as it is stored.
alias Taken = Packed_input;
fn fetch4(row: Row, j: u32) -> Taken { return packed4_input(row, j); }
fn taken4(x: Taken) -> vec4<f32> { return unpacked4_input(x); }
fn take(row: Row, column: u32) -> f32 { return load_input(row, column); }
// What is left of it for others.
fn keep4(row: Row, j: u32, live: vec4<bool>, s: vec4<f32>) {}
fn keep_words(at: Dealt, s: vec4<f32>) {}
