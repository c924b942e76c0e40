// A list, one number after the other. Of a list that is written in 16 bits a lane has the two halves of a word: the
// first word has `phase` halves of others.
override WORKGROUP: u32 = 64u;
struct Each {
    segments: u32,
    grain: u32,   // numbers of a lane
    phase: u32,
}
fn first_of(group: u32, local: u32) -> u32 { return (group * WORKGROUP + local) * p.each.grain - p.each.phase; }
