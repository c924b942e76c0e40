// Runs of memory as quads: four elements that start at a multiple of four in their binding. A run that starts inside a quad has a
// lead: elements of the quad before its first, which are loaded but not live. So odd widths and odd starts take 16-byte loads too.

// Whether runs may start inside a quad.
override LEADS: bool = false;

struct Run {
    first: u32,  // element of the window
    lead: u32,   // elements of the first quad before it
    width: u32,  // elements
}

fn run_at(first: u32, width: u32) -> Run {
    return Run(first, select(0u, (first + params.phase) & 3u, LEADS), width);
}

fn quads_of(run: Run) -> u32 {
    return (run.lead + run.width + 3u) / 4u;
}

// What an invocation takes in at once: QUADS quads, `stride` elements apart, of which the first `last + 1` are there. Loads stay
// within elements low .. low + width of each.
struct Span {
    place: u32,
    stride: u32,
    last: u32,
    low: u32,
    low_stride: u32,
    width: u32,
    live: Live,
}

// Quads q, q + step, ... of a run.
fn span_along(run: Run, q: u32, step: u32) -> Span {
    let quads = max(quads_of(run), 1u);
    let start = min(q, quads - 1u);
    let live = Live(vec4<u32>(4u * q - run.lead) + vec4<u32>(0u, 1u, 2u, 3u), 4u * step, run.width);
    return Span(run.first - run.lead + 4u * start, 4u * step, (quads - 1u - start) / step, run.first, 0u, run.width, live);
}

// Rows r, r + step, ... below `end` of the quad of columns that starts at `column`; `first` is the first row's first element.
fn span_across(first: u32, row: u32, step: u32, end: u32, column: u32, columns: u32) -> Span {
    let start = min(row, end - 1u);
    let low = first + start * columns;
    let live = Live(vec4<u32>(row), step, end);
    return Span(low + column, step * columns, (end - 1u - start) / step, low, step * columns, columns, live);
}

fn place_of(span: Span, k: u32) -> u32 {
    return span.place + min(k, span.last) * span.stride;
}

fn low_of(span: Span, k: u32) -> u32 {
    return span.low + min(k, span.last) * span.low_stride;
}

// An element of the run: that at i + e, or another.
fn element_of(run: Run, i: u32, e: u32) -> u32 {
    return run.first + min(i + e - run.first, max(run.width, 1u) - 1u);
}

// First of the runs that a walker walks: neighbours walk neighbouring runs, `params.spacing` of them a set of `params.slice_len` turns.
fn first_of_walker(walker: u32) -> u32 {
    let at = divided(walker, params.spacing);
    return at.x * params.slice_len * params.spacing + at.y;
}
