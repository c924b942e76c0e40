// Sums of a walk along memory: the four elements of a quad belong to one segment, whose sum is a number.

alias Sum = f32;
alias Bits = u32;

// Segments that a quad belongs to.
const SEGMENTS = 1u;

fn total(x: vec4<f32>) -> Sum {
    return (x.x + x.y) + (x.z + x.w);
}

fn largest(x: vec4<u32>) -> Bits {
    return max(max(x.x, x.y), max(x.z, x.w));
}

fn difference_of(a: Sum, b: Sum) -> Sum {
    return difference(a, b);
}

// Of a vector that has the same everywhere.
fn first_of(x: vec4<f32>) -> Sum {
    return x.x;
}

struct Lane {
    local: u32,  // place in the workgroup
    lane: u32,   // place among the lanes of a segment
}

// Lanes of a segment are neighbours in the workgroup.
fn lane_of(local: u32) -> Lane {
    return Lane(local, local % LANES);
}

fn lane_stride() -> u32 {
    return 1u;
}

// Which of the workgroup's teams an invocation belongs to.
fn team_of(local: u32) -> u32 {
    return local / LANES;
}

// The sum of one of the four segments.
fn of_column(x: Sum, column: u32) -> f32 {
    return x;
}

// What a walk starts from: its first element.
fn start_of(quad: vec4<f32>, lead: u32) -> Sum {
    return quad[lead];
}
