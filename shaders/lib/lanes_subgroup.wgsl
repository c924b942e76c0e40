// Sums over the LANES lanes of a row that lie in one subgroup (LANES <= the smallest subgroup of the device): no
// barrier. WORKGROUP / LANES rows a workgroup. All lanes of a row get the same bits, whatever the other rows of the
// subgroup do.
override WORKGROUP: u32 = 256u;
override LANES: u32 = 32u;
// Whether rows of a workgroup may take different paths: no exchange has a barrier, or there is one row.
const ROWS_PART = true;
struct Me { lane: u32, group: u32 }
var<private> me: Me;
fn enter_lanes(local: u32) { me = Me(local % LANES, local / LANES); }

override CLUSTER: u32 = LANES;

// Over neighbouring lanes, LANES or fewer.
fn sum_within(x: f32, lanes: u32) -> f32 {
    var s = x;
    if lanes > 1u { s += subgroupShuffleXor(s, 1u); }
    if lanes > 2u { s += subgroupShuffleXor(s, 2u); }
    if lanes > 4u { s += subgroupShuffleXor(s, 4u); }
    if lanes > 8u { s += subgroupShuffleXor(s, 8u); }
    if lanes > 16u { s += subgroupShuffleXor(s, 16u); }
    if lanes > 32u { s += subgroupShuffleXor(s, 32u); }
    return s;
}
fn sum2_within(x: vec2<f32>, lanes: u32) -> vec2<f32> { return vec2(sum_within(x.x, lanes), sum_within(x.y, lanes)); }
fn sum_lanes(x: f32, slot: u32) -> f32 { return sum_within(x, LANES); }
fn sum2_lanes(x: vec2<f32>, slot: u32) -> vec2<f32> { return sum2_within(x, LANES); }
fn sum4_lanes(x: vec4<f32>, slot: u32) -> vec4<f32> { return vec4(sum2_within(x.xy, LANES), sum2_within(x.zw, LANES)); }

fn max_lanes(x: u32, slot: u32) -> u32 {
    var s = x;
    if LANES > 1u { s = max(s, subgroupShuffleXor(s, 1u)); }
    if LANES > 2u { s = max(s, subgroupShuffleXor(s, 2u)); }
    if LANES > 4u { s = max(s, subgroupShuffleXor(s, 4u)); }
    if LANES > 8u { s = max(s, subgroupShuffleXor(s, 8u)); }
    if LANES > 16u { s = max(s, subgroupShuffleXor(s, 16u)); }
    if LANES > 32u { s = max(s, subgroupShuffleXor(s, 32u)); }
    return s;
}

// Of what is the same in all lanes of a row. Rows of one subgroup may part here: their exchanges concern their own
// lanes alone.
fn any_lanes(x: bool) -> bool { return x; }
