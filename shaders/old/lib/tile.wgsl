// Who maps what. The window is outer blocks of `params.rows` rows, params.width elements each. LANES invocations own a tile:
// params.turns times QUADS * LANES neighbouring quads of up to params.slice_len rows, which lie params.spacing apart.
// Tiles count along the row fastest, then walkers (params.blocks an outer block), then outer blocks.

struct Tile {
    outer: u32,   // outer block
    walker: u32,  // which of the walkers of its rows
    row: u32,     // first row, within the outer block
    end: u32,     // rows of the outer block; 0 where there is none
    quad: u32,    // the invocation's first quad
}

fn tile_of(group: u32, local: u32) -> Tile {
    let unit = group * (WORKGROUP_SIZE / LANES) + local / LANES;
    let part = divided(unit, params.parts);
    let walker = divided(part.x, params.blocks);
    let outer = walker.x;
    let end = select(0u, params.rows, outer < params.segments);
    return Tile(outer, walker.y, first_of_walker(walker.y), end, part.y * params.turns * QUADS * LANES + local % LANES);
}

// The t-th row of a tile; one without elements where there is none.
fn run_of(tile: Tile, t: u32) -> Run {
    let row = tile.row + t * params.spacing;
    let there = row < tile.end;
    let first = select(0u, (tile.outer * params.rows + row) * params.width, there);
    return run_at(first, select(0u, params.width, there));
}

// The k-th quad of an invocation in a run (QUADS a turn), or the last; and whether it is there.
fn quad_at(run: Run, tile: Tile, k: u32) -> u32 {
    return run.first - run.lead + 4u * min(tile.quad + k * LANES, max(quads_of(run), 1u) - 1u);
}

fn has_quad(run: Run, tile: Tile, k: u32) -> bool {
    return run.width > 0u && (FILLED || tile.quad + k * LANES < quads_of(run));
}
