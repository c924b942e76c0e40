// Parameters of the four elements of a quad, at element i of a run.

// Whether parameters of a row are neighbours in memory as its elements are.
override AFFINE_ALONG: bool = false;

// That of the element with these digits; what is looked up for every element needs none.
fn parameter_at(digits: vec4<u32>) -> u32 {
    if AFFINE == BY_ELEMENT { return 0u; }
    return segment_of(params.affine, digits) - params.affine_base;
}

// Those of the quad at i of a run whose first element has `first`.
fn parameters_of(run: Run, first: u32, i: u32) -> vec4<u32> {
    if AFFINE == BY_ROW { return vec4<u32>(first); }
    if AFFINE == HELD && !AFFINE_ALONG { return first + segments_in_row(params.affine, run, i); }
    let elements = elements_of(run, i);
    if AFFINE == HELD { return first + elements - run.first; }
    return segments_at(params.affine, elements) - params.affine_base;
}

fn scale_at(run: Run, first: u32, i: u32) -> vec4<f32> {
    if AFFINE == HELD && AFFINE_ALONG { return load4_scale(first + i - run.first, first, run.width); }
    if AFFINE == BY_ROW { return vec4<f32>(load_scale(first)); }
    let at = parameters_of(run, first, i);
    return vec4<f32>(load_scale(at.x), load_scale(at.y), load_scale(at.z), load_scale(at.w));
}
