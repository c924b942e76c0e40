// Sums over the lanes of a row in one subgroup (of a longer row, in each): no barrier. All get the same bits.
override WORKGROUP: u32 = 256u;
fn cluster() -> u32 { return lanes(); }   // lanes that need no memory
override CLUSTER: u32 = 128u;   // no subgroup has fewer lanes, or no row has more
fn joined() -> u32 { return min(lanes(), CLUSTER); }   // lanes that exchange
fn among() -> Neighbours { return Neighbours(lanes(), min(LEAST, CLUSTER), min(MOST, CLUSTER)); }
fn sum_lanes(x: f32, slot: u32) -> f32 { return sum_within(x, among()); }
fn sum2_lanes(x: vec2<f32>, slot: u32) -> vec2<f32> { return sum2_within(x, among()); }
fn sum4_lanes(x: vec4<f32>, slot: u32) -> vec4<f32> { return sum4_within(x, among()); }
fn max_lanes(x: u32, slot: u32) -> u32 { return max_within(x, among()); }

// Of what is the same in all lanes of a row. Rows of one subgroup may part here: their exchanges concern their own
// lanes alone.
fn any_lanes(x: bool) -> bool { return x; }
