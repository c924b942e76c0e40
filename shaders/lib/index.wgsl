// Which segment an element belongs to, without a division an element: digits are computed once and then advanced
// by a constant step, with carries.

fn add_digits(dims: vec4<u32>, a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    var sum = a + b;
    if sum.w >= dims.w { sum.w -= dims.w; sum.z += 1u; }
    if sum.z >= dims.z { sum.z -= dims.z; sum.y += 1u; }
    if sum.y >= dims.y { sum.y -= dims.y; sum.x += 1u; }
    return sum;
}

fn index_start(index: Index, element: u32) -> vec4<u32> {
    let inner = element / index.dims.w;
    let middle = inner / index.dims.z;
    let outer = middle / index.dims.y;
    let digits = vec4<u32>(outer, middle % index.dims.y, inner % index.dims.z, element % index.dims.w);
    return add_digits(index.dims, index.first, digits);
}

fn index_step(index: Index, digits: vec4<u32>) -> vec4<u32> {
    return add_digits(index.dims, digits, index.step);
}

fn index_segment(index: Index, digits: vec4<u32>) -> u32 {
    return digits.x * index.dims.z + digits.z;
}
