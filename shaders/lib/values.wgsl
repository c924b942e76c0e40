// The walk that makes records of statistics, 16 elements a push.

fn walk_load(first: u32, at: ptr<function, vec2<u32>>) -> f32 {
    let x = load_input(first + walk_place(*at));
    *at = walk_next(*at);
    return x;
}

// Four elements, LANES apart, of which n are there.
fn walk_load4(first: u32, at: ptr<function, vec2<u32>>, n: u32) -> vec4<f32> {
    var x = vec4<f32>(0.0);
    if n > 0u { x.x = walk_load(first, at); }
    if n > 1u { x.y = walk_load(first, at); }
    if n > 2u { x.z = walk_load(first, at); }
    if n > 3u { x.w = walk_load(first, at); }
    return x;
}

// Reduces elements j = begin + lane, + LANES, ... below end of the segment that starts at `first`.
fn walk_reduce(first: u32, begin: u32, end: u32, lane: u32) -> vec4<f32> {
    if begin >= end { return vec4<f32>(0.0); }
    let start = acc_start(load_input(first + walk_place(walk_start(begin))));
    var acc = start;
    var at = walk_start(begin + lane);
    var j = begin + lane;
    while j < end {
        var link = start;
        for (var k = 0u; k < LINK && j < end; k += 1u) {
            var chunk: Chunk;
            chunk.n = min((end - j + LANES - 1u) / LANES, 16u);
            chunk.x[0] = walk_load4(first, &at, chunk.n);
            chunk.x[1] = walk_load4(first, &at, max(chunk.n, 4u) - 4u);
            chunk.x[2] = walk_load4(first, &at, max(chunk.n, 8u) - 8u);
            chunk.x[3] = walk_load4(first, &at, max(chunk.n, 12u) - 12u);
            link = acc_push(link, chunk);
            j += 16u * LANES;
        }
        acc = acc_combine(acc, link);
    }
    return acc;
}
