// Parameters of the four elements of a quad, at element i of a run.

// Whether parameters of a row are neighbours in memory as its elements are.
override AFFINE_ALONG: bool = false;

fn parameter_of(run: Run, i: u32, e: u32) -> u32 {
    let element = element_of(run, i, e);
    if AFFINE == BY_ELEMENT { return segment_at(params.affine, element) - params.affine_base; }
    let low = segment_at(params.affine, run.first) - params.affine_base;
    if AFFINE == BY_ROW { return low; }
    if AFFINE_ALONG { return low + element - run.first; }
    return segment_in_row(params.affine, low, element - run.first);
}

fn scale_at(run: Run, i: u32) -> vec4<f32> {
    if AFFINE == HELD && AFFINE_ALONG {
        let low = segment_at(params.affine, run.first) - params.affine_base;
        return load4_scale(low + i - run.first, low, run.width);
    }
    let a = load_scale(parameter_of(run, i, 0u));
    if AFFINE == BY_ROW { return vec4<f32>(a); }
    let b = load_scale(parameter_of(run, i, 1u));
    let c = load_scale(parameter_of(run, i, 2u));
    return vec4<f32>(a, b, c, load_scale(parameter_of(run, i, 3u)));
}
