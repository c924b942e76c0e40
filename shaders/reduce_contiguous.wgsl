// Reduces slices of segments that are long runs of memory.
//
//   for each segment, slice of its vectors                                        (some lanes each)
//       each lane: for vectors lane, lane + lanes, ... of the slice, run by run    FLIGHT whole vectors at once; then,
//           partial += what the source makes of them                               one by one, those of which elements
//       whole = partials of all lanes                                              may be missing
//       record[slice][segment] = whole
//
// The four elements of a vector are four chains, until the lanes join theirs.
//
// A segment is p.runs.count runs of p.runs.width elements, as far apart as the runs of p.runs.inner segments; its
// vectors are those of all its runs, one run after the other. So slices are even whatever the runs are. All lengths of
// runs, and all numbers of lanes that need barriers, have one kernel.
//
// Departures:
// 1. A whole that lost digits (is_rare) is reduced once more, in other units: two more walks, of the slice alone; and
//    sums of gradients that are not finite a third time, for what stands in their place.
// 2. Runs that begin or end inside a vector are p.runs.vectors vectors each, the last of which may hold nothing. Where
//    it is one run, the walk begins at its second vector and ends with its first: all but the last few are whole.
// 3. No division in the loop: the next vector is `lanes` vectors further, that is step_runs runs and step_vectors
//    vectors.
//
// A workgroup owns the records of WORKGROUP / lanes segments in a slice. What is added up says lib/source/.
//
// bindings: parameters, [those of the source (read)], partials (read and write)

const SLOTS = 5u;

struct Runs {
    segments: u32,
    inner: u32,         // segments whose runs lie side by side
    count: u32,         // runs of a segment
    width: u32,         // elements of a run
    vectors: u32,       // vectors of memory that a run may touch
    start: u32,         // vector of a run where the walk of a segment begins
    whole: u32,         // the first so many vectors of a walk are the segment's in all their elements
    step_runs: u32,     // lanes / vectors
    step_vectors: u32,  // lanes % vectors
    first_row: u32,     // runs of the tensor before the window
}
struct At { run: u32, vector: u32 }

fn next(at: At) -> At {
    let v = at.vector + p.runs.step_vectors;
    let wraps = v >= p.runs.vectors;
    return At(at.run + p.runs.step_runs + u32(wraps), select(v, v - p.runs.vectors, wraps));
}
fn at_of(q: u32) -> At { return At((q + p.runs.start) / p.runs.vectors, (q + p.runs.start) % p.runs.vectors); }
// Runs count from the window's start; after a segment's last one comes its first.
fn run_of(first_run: u32, at: At) -> u32 {
    return first_run + select(at.run, 0u, at.run == p.runs.count) * p.runs.inner;
}
fn row_of(run: u32) -> Row { return row_at(run * p.runs.width, p.runs.width); }
fn fetched(run: u32, row: Row, vector: u32) -> Fetched { return fetch(p.runs.first_row + run, row, vector); }

// Column of what is not there.
const NOWHERE = 0x80000000u;
fn walked(first_run: u32, begin: u32, end: u32, known: Known) -> Partial {
    var m = partial_none();
    var at = at_of(begin);
    var q = begin;
    var chunk: array<Fetched, FLIGHT>;
    // runs of whole vectors begin alike
    let first = row_of(first_run);
    for (; q + (FLIGHT - 1u) * lanes() < min(end, p.runs.whole); q += FLIGHT * lanes()) {
        for (var k = 0u; k < FLIGHT; k += 1u) {
            let row = Row(first.first + at.run * (p.runs.inner * p.runs.width), first.head, first.width);
            chunk[k] = fetched(first_run + at.run * p.runs.inner, row, at.vector);
            at = next(at);
        }
        m = partial_push(m, &chunk, known);
    }
    // what is past the slice's end is the first vector of its chunk once more
    for (; q < end; q += FLIGHT * lanes()) {
        var column: array<u32, FLIGHT>;
        let top = at;
        for (var k = 0u; k < FLIGHT; k += 1u) {
            let there = q + k * lanes() < end;
            let run = run_of(first_run, At(select(top.run, at.run, there), 0u));
            let vector = select(top.vector, at.vector, there);
            let row = row_of(run);
            column[k] = select(NOWHERE, 4u * vector - row.head, there);
            chunk[k] = fetched(run, row, clamped(row, vector));
            at = next(at);
        }
        for (var k = 0u; k < FLIGHT; k += 1u) {
            let live = vec4(column[k]) + vec4(0u, 1u, 2u, 3u) < vec4(p.runs.width);
            m = partial_push_some(m, chunk[k], live, known);
        }
    }
    return m;
}
fn extremes_of(first_run: u32, begin: u32, end: u32) -> Extremes {
    var e = extremes_none();
    for (var q = begin; q < end; q += lanes()) {
        let at = at_of(q);
        let run = run_of(first_run, at);
        let row = row_of(run);
        let vector = clamped(row, at.vector);
        e = extremes_push(e, fetched(run, row, vector), live4(row, at.vector));
    }
    return e;
}

fn run(group: u32, local: u32) {
    enter_lanes(local);
    let slice = group % p.slices.count;
    let segment = group / p.slices.count * rows_of_workgroup() + me.group;
    let live = segment < p.runs.segments;
    let own = min(segment, p.runs.segments - 1u);
    let first_run = own / p.runs.inner * (p.runs.inner * p.runs.count) + own % p.runs.inner;
    let begin = min(slice * p.slices.len, p.runs.count * p.runs.vectors);
    let end = min(begin + p.slices.len, p.runs.count * p.runs.vectors);
    let row = row_of(first_run);
    var known = known_at(p.runs.first_row + first_run, row, 0u);
    var whole: Whole;
    for (var attempt = 0u; attempt < attempts(); attempt += 1u) {
        whole = joined(whole, whole_of(walked(first_run, begin + me.lane, end, known), known), attempt);
        if attempt + 1u == attempts() || !any_lanes(is_rare(whole, known, attempt)) { break; }
        known = known_again(known, extremes_of(first_run, begin + me.lane, end), attempt);
    }
    if live && me.lane == 0u { leave(slice, segment, record_of(whole, known, 0u)); }
}
