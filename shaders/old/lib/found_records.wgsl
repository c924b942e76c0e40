// Records of the four elements of a quad, at element i of a run.

// Whether records of a row are neighbours in memory as its elements are.
override STATISTICS_ALONG: bool = false;

// That of the element with these digits; what is looked up for every element needs none.
fn record_at(digits: vec4<u32>) -> u32 {
    if STATISTICS == BY_ELEMENT { return 0u; }
    return segment_of(params.statistics, digits) - params.statistics_base;
}

// Those of the quad at i of a run whose first element has `first`.
fn records_of(run: Run, first: u32, i: u32) -> vec4<u32> {
    if STATISTICS == BY_ROW { return vec4<u32>(first); }
    if STATISTICS == HELD && !STATISTICS_ALONG { return first + segments_in_row(params.statistics, run, i); }
    let elements = elements_of(run, i);
    if STATISTICS == HELD { return first + elements - run.first; }
    return segments_at(params.statistics, elements) - params.statistics_base;
}

fn normalizer_at(run: Run, first: u32, i: u32) -> Normalizer {
    if STATISTICS == BY_ROW { return normalizer(load_moments(first)); }
    let at = records_of(run, first, i);
    return normalizer4(load_moments(at.x), load_moments(at.y), load_moments(at.z), load_moments(at.w));
}
