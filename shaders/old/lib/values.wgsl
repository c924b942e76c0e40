// The walk that makes records of statistics.

// What is known of the segments of a walk: nothing yet.
struct Known {
    nothing: u32,
}

fn known_at(run: Run, i: u32) -> Known {
    return Known(0u);
}

// Nothing, relative to the first element of a walk.
fn partial_start(run: Run, column: u32) -> Partial {
    return acc_start(start_of(load4_input(run.first - run.lead + column, run.first, run.width), run.lead));
}

fn partial_push(partial: Partial, span: Span, known: Known) -> Partial {
    var x: Chunk;
    for (var k = 0u; k < QUADS; k += 1u) { x[k] = load4_input(place_of(span, k), low_of(span, k), span.width); }
    return acc_push(partial, &x, span.live);
}
