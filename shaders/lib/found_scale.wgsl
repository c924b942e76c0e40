// Parameters of the four elements of a quad, at element i of a run.

// Whether parameters of a row are neighbours in memory as its elements are.
override AFFINE_ALONG: bool = false;

// That of the element with these digits; what is looked up for every element needs none.
fn parameter_at(digits: vec4<u32>) -> u32 {
    if AFFINE == BY_ELEMENT { return 0u; }
    return segment_of(params.affine, digits) - params.affine_base;
}

// That of element i + e of a run whose first element has `first`.
fn parameter_of(run: Run, first: u32, i: u32, e: u32) -> u32 {
    let element = element_of(run, i, e);
    if AFFINE == BY_ELEMENT { return segment_at(params.affine, element) - params.affine_base; }
    if AFFINE == BY_ROW { return first; }
    if AFFINE_ALONG { return first + element - run.first; }
    return segment_in_row(params.affine, first, element - run.first);
}

fn scale_at(run: Run, first: u32, i: u32) -> vec4<f32> {
    if AFFINE == HELD && AFFINE_ALONG { return load4_scale(first + i - run.first, first, run.width); }
    let a = load_scale(parameter_of(run, first, i, 0u));
    if AFFINE == BY_ROW { return vec4<f32>(a); }
    let b = load_scale(parameter_of(run, first, i, 1u));
    let c = load_scale(parameter_of(run, first, i, 2u));
    return vec4<f32>(a, b, c, load_scale(parameter_of(run, first, i, 3u)));
}
