// Lanes of a row: a parameter, a power of two, so that rows of many lengths share a kernel.
struct Lanes { count: u32, log2: u32 }
override LEAST: u32 = 1u;   // there are no fewer
override MOST: u32 = 32u;   // and no more
fn lanes() -> u32 { return select(p.lanes.count, LEAST, LEAST == MOST); }
struct Me { lane: u32, group: u32 }
var<private> me: Me;
fn log2_lanes() -> u32 { return select(p.lanes.log2, firstTrailingBit(LEAST), LEAST == MOST); }
fn rows_of_workgroup() -> u32 { return WORKGROUP >> log2_lanes(); }
fn enter_lanes(local: u32) { me = Me(local & (lanes() - 1u), local >> log2_lanes()); }
