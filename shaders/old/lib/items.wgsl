// What a walker holds, or walks, at a time: a segment that lies contiguous in memory, or, where STRIDED, one that is params.rows runs of params.width
// elements, each in its row of memory, with RUN_LANES invocations to a run; or four such segments whose elements are neighbours
// (lib/across.wgsl).

// Whether a segment is runs in rows of memory.
override STRIDED: bool = false;

struct Item {
    number: u32,
    row: Run,     // its run, or the first row of memory that it has a run of
    column: u32,  // of that row, the invocation's first
    lane: u32,
}

// Item n, or the last where there is none.
fn item_at(n: u32, lane: u32) -> Item {
    let number = min(n, params.segments - 1u);
    if !STRIDED { return Item(number, run_at(number * params.width, params.width), 0u, lane); }
    let at = divided(number, params.parts);
    let columns = params.parts * params.width;
    return Item(number, Run(at.x * params.rows * columns, 0u, columns), at.y * params.width + 4u * (lane % RUN_LANES), lane);
}

fn span_of(item: Item) -> Span {
    if !STRIDED { return span_along(item.row, item.lane, LANES); }
    return span_across(item.row.first, item.lane / RUN_LANES, LANES / RUN_LANES, params.rows, item.column, item.row.width);
}

// Whether the invocation writes quad n of what it holds.
fn has_quad(item: Item, n: u32) -> bool {
    if STRIDED { return item.lane / RUN_LANES + n * (LANES / RUN_LANES) < params.rows; }
    let quad = item.lane + n * LANES;
    return quad < quads_of(item.row);
}

