// Lanes of a row: a constant of the kernel, a power of two.
override LANES: u32 = 32u;
override LEAST: u32 = LANES;
override MOST: u32 = LANES;
fn lanes() -> u32 { return LANES; }
fn rows_of_workgroup() -> u32 { return WORKGROUP / LANES; }
struct Me { lane: u32, group: u32 }
var<private> me: Me;
fn enter_lanes(local: u32) { me = Me(local % LANES, local / LANES); }
