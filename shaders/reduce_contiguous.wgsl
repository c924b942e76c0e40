// Reduces slices of segments that are long runs of memory.
//
//   for each segment, slice of its vectors                                        (LANES lanes each)
//       each lane: for vectors lane, lane + LANES, ... of the slice, run by run    FLIGHT vectors at once
//           partial += what the source makes of them                               four chains, one for each element of
//           a vector
//       whole = partials of all lanes
//       record[slice][segment] = whole
//
// A segment is p.runs.count runs of p.runs.width elements, as far apart as the runs of p.runs.inner segments; its
// vectors are those of all its runs, one run after the other. So slices are even whatever the runs are.
//
// Departures:
// 1. A whole that lost digits (is_rare) is reduced once more, in other units: two more walks, of the slice alone.
// 2. Runs that begin inside a vector (EDGES) are p.runs.vectors vectors each, the last of which may hold nothing.
// 3. No division in the loop: the next vector is LANES vectors further, that is step_runs runs and step_vectors
//    vectors.
//
// A workgroup owns the records of WORKGROUP / LANES segments in a slice. What is added up says lib/source/.
//
// bindings: parameters, [those of the source (read)], partials (read and write)

const SLOTS = 6u;
// Whether segments are several runs.
override RUNS: bool = false;

struct Runs {
    segments: u32,
    inner: u32,         // segments whose runs lie side by side
    count: u32,         // runs of a segment
    width: u32,         // elements of a run
    vectors: u32,       // vectors of memory that a run may touch
    step_runs: u32,     // LANES / vectors
    step_vectors: u32,  // LANES % vectors
    first_row: u32,     // runs of the tensor before the window
}
struct At { run: u32, vector: u32 }

fn next(at: At) -> At {
    if !RUNS { return At(0u, at.vector + LANES); }
    let v = at.vector + p.runs.step_vectors;
    let wraps = v >= p.runs.vectors;
    return At(at.run + p.runs.step_runs + u32(wraps), select(v, v - p.runs.vectors, wraps));
}
// Runs count from the window's start. Nothing is read beyond a run's last vector.
fn fetched(run: u32, row: Row, vector: u32) -> Fetched {
    return fetch(p.runs.first_row + run, row, select(vector, min(vector, vectors_of(row) - 1u), EDGES));
}
fn row_of(run: u32) -> Row { return row_at(run * p.runs.width, p.runs.width); }

// What is past the slice's end is the first vector of its chunk once more.
fn walked(first_run: u32, begin: u32, end: u32, known: Known) -> Partial {
    var m = partial_none();
    var at = At(begin / p.runs.vectors, begin % p.runs.vectors);
    if !RUNS { at = At(0u, begin); }
    for (var q = begin; q < end; q += FLIGHT * LANES) {
        var chunk: array<Fetched, FLIGHT>;
        var live: Live;
        let top = at;
        for (var k = 0u; k < FLIGHT; k += 1u) {
            let there = FULL || q + k * LANES < end;
            let run = first_run + select(top.run, at.run, there) * p.runs.inner;
            let vector = select(top.vector, at.vector, there);
            let row = row_of(run);
            live.column[k] = select(NOWHERE, 4u * vector - row.head, there);
            chunk[k] = fetched(run, row, vector);
            at = next(at);
        }
        m = partial_push(m, &chunk, live, known);
    }
    return m;
}
fn extremes_of(first_run: u32, begin: u32, end: u32) -> Extremes {
    var e = extremes_none();
    for (var q = begin; q < end; q += LANES) {
        let run = first_run + q / p.runs.vectors * p.runs.inner;
        let row = row_of(run);
        let vector = q % p.runs.vectors;
        e = extremes_push(e, fetched(run, row, vector), columns_of(row, vector) < vec4(p.runs.width));
    }
    return e;
}

fn run(group: u32, local: u32) {
    enter_lanes(local);
    let slice = group % p.slices.count;
    let segment = group / p.slices.count * (WORKGROUP / LANES) + me.group;
    let live = segment < p.runs.segments;
    let own = min(segment, p.runs.segments - 1u);
    let first_run = own / p.runs.inner * (p.runs.inner * p.runs.count) + own % p.runs.inner;
    let begin = min(slice * p.slices.len, p.runs.count * p.runs.vectors);
    let end = min(begin + p.slices.len, p.runs.count * p.runs.vectors);
    taken = 4u * (end - begin);
    let row = row_of(first_run);
    var known = known_at(p.runs.first_row + first_run, row, 0u);
    var whole: Whole;
    for (var attempt = 0u; attempt < 2u; attempt += 1u) {
        whole = whole_of(walked(first_run, begin + me.lane, end, known), known);
        if !RETRIES || attempt > 0u || !any_lanes(is_rare(whole, known)) { break; }
        known = known_again(known, extremes_of(first_run, begin + me.lane, end));
    }
    if live && me.lane == 0u { leave(slice, segment, record_of(whole, known, 0u)); }
}
