// Sums over the lanes of a tile that share a segment, through workgroup memory: eight at a time, then all lanes take
// the rest. LANES lanes side by side, LINES below one another; RUN neighbours belong to one segment, in all lines.
// Powers of two. Barriers: 2 + log8(LINES * RUN) an exchange. All lanes of a segment get the same bits. Uniform control
// flow.
override WORKGROUP: u32 = 256u;
override LANES: u32 = 16u;
override LINES: u32 = 16u;
override RUN: u32 = 1u;
var<workgroup> exchanged: array<Bits, WORKGROUP>;
struct Me { lane: u32, line: u32 }
var<private> me: Me;
fn enter_lanes(local: u32) { me = Me(local % LANES, local / LANES); }

// Place of a member of the lane's segment: neighbouring segments are neighbours.
fn member(i: u32) -> u32 { return i * (LANES / RUN) + me.lane / RUN; }
fn own_member() -> u32 { return me.line * RUN + me.lane % RUN; }
fn sum_lanes(x: Sum, slot: u32) -> Sum {
    let own = own_member();
    workgroupBarrier();   // what an earlier exchange left here has been read
    exchanged[member(own)] = bitcast<Bits>(x);
    workgroupBarrier();
    var members = LINES * RUN;
    for (; members > 8u; members /= 8u) {
        if own < members / 8u {
            var sum = Sum(0.0);
            for (var q = 0u; q < 8u; q += 1u) { sum += bitcast<Sum>(exchanged[member(own + q * (members / 8u))]); }
            exchanged[member(own)] = bitcast<Bits>(sum);
        }
        workgroupBarrier();
    }
    var sum = Sum(0.0);
    for (var q = 0u; q < members; q += 1u) { sum += bitcast<Sum>(exchanged[member(q)]); }
    return sum;
}
fn max_lanes(x: Bits, slot: u32) -> Bits {
    let own = own_member();
    workgroupBarrier();
    exchanged[member(own)] = x;
    workgroupBarrier();
    var members = LINES * RUN;
    for (; members > 8u; members /= 8u) {
        if own < members / 8u {
            var top = Bits(0u);
            for (var q = 0u; q < 8u; q += 1u) { top = max(top, exchanged[member(own + q * (members / 8u))]); }
            exchanged[member(own)] = top;
        }
        workgroupBarrier();
    }
    var top = Bits(0u);
    for (var q = 0u; q < members; q += 1u) { top = max(top, exchanged[member(q)]); }
    return top;
}

// Whether it is so in any segment of the workgroup: uniform for every validator.
fn any_lanes(x: bool) -> bool {
    workgroupBarrier();
    if me.lane + me.line == 0u { exchanged[0] = Bits(0u); }
    workgroupBarrier();
    if x { exchanged[0] = Bits(1u); }
    return any_bits(workgroupUniformLoad(&exchanged[0]));
}
