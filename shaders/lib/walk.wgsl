// A lane's place in a slice of a segment: blocks of params.walk.y elements, params.walk.x apart.

// Links of a chain have 16 members: short chains keep the rounding small.
const LINK = 16u;

fn walk_start(j: u32) -> vec2<u32> {
    return vec2<u32>(j / params.walk.y, j % params.walk.y);
}

// Distance from the segment's first element of (block, place in the block).
fn walk_place(at: vec2<u32>) -> u32 {
    return at.x * params.walk.x + at.y;
}

// LANES elements on.
fn walk_next(at: vec2<u32>) -> vec2<u32> {
    let inner = at.y + params.walk.w;
    let carry = inner >= params.walk.y;
    return vec2<u32>(at.x + params.walk.z + u32(carry), select(inner, inner - params.walk.y, carry));
}
