// Records of the four elements of a quad, at element i of a run.

// Whether records of a row are neighbours in memory as its elements are.
override STATISTICS_ALONG: bool = false;

fn statistics_of(run: Run, i: u32, e: u32) -> u32 {
    let element = element_of(run, i, e);
    if STATISTICS == BY_ELEMENT { return segment_at(params.statistics, element) - params.statistics_base; }
    let low = segment_at(params.statistics, run.first) - params.statistics_base;
    if STATISTICS == BY_ROW { return low; }
    if STATISTICS_ALONG { return low + element - run.first; }
    return segment_in_row(params.statistics, low, element - run.first);
}

fn normalizer_at(run: Run, i: u32) -> Normalizer {
    let a = load_statistics(statistics_of(run, i, 0u));
    if STATISTICS == BY_ROW { return normalizer(a); }
    let b = load_statistics(statistics_of(run, i, 1u));
    let c = load_statistics(statistics_of(run, i, 2u));
    return normalizer4(a, b, c, load_statistics(statistics_of(run, i, 3u)));
}
