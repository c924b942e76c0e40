// Up to 16 elements, which an accumulator takes in at once: exact two-pass over them, then one merge.

struct Chunk {
    x: array<vec4<f32>, 4>,
    n: u32,  // how many are elements; the others are 0
}

// Which of the four in part `part` are elements.
fn live(n: u32, part: u32) -> vec4<bool> {
    return vec4<u32>(0u, 1u, 2u, 3u) + vec4<u32>(4u * part) < vec4<u32>(n);
}

fn sum4(x: vec4<f32>) -> f32 {
    return (x.x + x.y) + (x.z + x.w);
}

fn sum16(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> f32 {
    return sum4((a + b) + (c + d));
}

fn largest16(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> u32 {
    let mask = vec4<u32>(0x7fffffffu);
    let ab = max(bitcast<vec4<u32>>(a) & mask, bitcast<vec4<u32>>(b) & mask);
    let cd = max(bitcast<vec4<u32>>(c) & mask, bitcast<vec4<u32>>(d) & mask);
    let all = max(ab, cd);
    return max(max(all.x, all.y), max(all.z, all.w));
}

// Root of the mean of the squares of n numbers.
fn root_mean_square(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, share: f32) -> f32 {
    let scale = scale_of(largest16(a, b, c, d));
    let k = scale.to_unit;
    let square = sum16((a * k) * (a * k), (b * k) * (b * k), (c * k) * (c * k), (d * k) * (d * k));
    return sqrt(square * share) * scale.from_unit;
}
