// Records of the four elements of a quad, at element i of a run.

// Whether records of a row are neighbours in memory as its elements are.
override STATISTICS_ALONG: bool = false;

// That of the element with these digits; what is looked up for every element needs none.
fn record_at(digits: vec4<u32>) -> u32 {
    if STATISTICS == BY_ELEMENT { return 0u; }
    return segment_of(params.statistics, digits) - params.statistics_base;
}

// That of element i + e of a run whose first element has `first`.
fn record_of(run: Run, first: u32, i: u32, e: u32) -> u32 {
    let element = element_of(run, i, e);
    if STATISTICS == BY_ELEMENT { return segment_at(params.statistics, element) - params.statistics_base; }
    if STATISTICS == BY_ROW { return first; }
    if STATISTICS_ALONG { return first + element - run.first; }
    return segment_in_row(params.statistics, first, element - run.first);
}

fn normalizer_at(run: Run, first: u32, i: u32) -> Normalizer {
    let a = load_statistics(record_of(run, first, i, 0u));
    if STATISTICS == BY_ROW { return normalizer(a); }
    let b = load_statistics(record_of(run, first, i, 1u));
    let c = load_statistics(record_of(run, first, i, 2u));
    return normalizer4(a, b, c, load_statistics(record_of(run, first, i, 3u)));
}
