// Segments of the elements of a quad, at element i of a run.

// Segments of the four elements of the quad at i of a run, counted from that of its first element, where segments repeat from row to
// row. Elements beside the run take one of it.
fn segments_in_row(index: Index, run: Run, i: u32) -> vec4<u32> {
    let column = select(i - run.first, 0u, i - run.first >= run.width);
    let inner = divided(column, index.dims.w);
    let a = vec2<u32>(divided(inner.x, index.dims.z).y, inner.y);
    let b = next_in_row(index, run, i, a);
    let c = next_in_row(index, run, i + 1u, b);
    return vec4<u32>(a.x, b.x, c.x, next_in_row(index, run, i + 2u, c).x);
}

// Segment and place in it of element i + 1, from those of element i.
fn next_in_row(index: Index, run: Run, i: u32, at: vec2<u32>) -> vec2<u32> {
    let steps = i - run.first < max(run.width, 1u) - 1u;
    let carries = at.y + 1u == index.dims.w;
    let segment = select(at.x + 1u, 0u, at.x + 1u == index.dims.z);
    return select(at, select(vec2<u32>(at.x, at.y + 1u), vec2<u32>(segment, 0u), carries), steps);
}

// The four elements of the quad at i of a run, those beside it as others; and the segments of any four elements.
fn elements_of(run: Run, i: u32) -> vec4<u32> {
    return vec4<u32>(element_of(run, i, 0u), element_of(run, i, 1u), element_of(run, i, 2u), element_of(run, i, 3u));
}

fn segments_at(index: Index, elements: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(
        segment_at(index, elements.x), segment_at(index, elements.y), segment_at(index, elements.z), segment_at(index, elements.w));
}
