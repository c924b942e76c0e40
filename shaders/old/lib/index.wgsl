// Which segment an element belongs to. Divisions are dear: kernels ask once a walk, then step from row to row with carries.

fn add_digits(dims: vec4<u32>, a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    var sum = a + b;
    if sum.w >= dims.w { sum.w -= dims.w; sum.z += 1u; }
    if sum.z >= dims.z { sum.z -= dims.z; sum.y += 1u; }
    if sum.y >= dims.y { sum.y -= dims.y; sum.x += 1u; }
    return sum;
}

fn digits_at(index: Index, element: u32) -> vec4<u32> {
    let inner = divided(element, index.dims.w);
    let middle = divided(inner.x, index.dims.z);
    let outer = divided(middle.x, index.dims.y);
    return add_digits(index.dims, index.first, vec4<u32>(outer.x, outer.y, middle.y, inner.y));
}

// The digits of the next row that a map walks, where it looks up what belongs to rows.
fn next_row(index: Index, found: u32, digits: vec4<u32>) -> vec4<u32> {
    if found == BY_ROW { return add_digits(index.dims, digits, index.step); }
    return digits;
}

fn segment_of(index: Index, digits: vec4<u32>) -> u32 {
    return digits.x * index.dims.z + digits.z;
}

fn segment_at(index: Index, element: u32) -> u32 {
    return segment_of(index, digits_at(index, element));
}
