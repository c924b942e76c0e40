// Sums of a walk across segments: the four elements of a quad belong to four segments, whose sums are a vector.

alias Sum = vec4<f32>;
alias Bits = vec4<u32>;

const SEGMENTS = 4u;

fn total(x: vec4<f32>) -> Sum {
    return x;
}

fn largest(x: vec4<u32>) -> Bits {
    return x;
}

fn difference_of(a: Sum, b: Sum) -> Sum {
    return difference4(a, b);
}

fn first_of(x: vec4<f32>) -> Sum {
    return x;
}

struct Lane {
    local: u32,  // place in the workgroup
    lane: u32,   // place among the lanes of a segment
}

// Neighbours in the workgroup are neighbouring columns; the lanes of a column are as many columns apart.
fn lane_of(local: u32) -> Lane {
    return Lane(local, local / lane_stride());
}

fn lane_stride() -> u32 {
    return WORKGROUP_SIZE / LANES;
}

fn team_of(local: u32) -> u32 {
    return local % lane_stride();
}

fn of_column(x: Sum, column: u32) -> f32 {
    return x[column];
}

fn start_of(quad: vec4<f32>, lead: u32) -> Sum {
    return quad;
}
