// A whole chunk as vector after vector; so long all four chains have equally many elements.
fn partial_push(m: Partial, chunk: ptr<function, array<Fetched, FLIGHT>>, known: Known) -> Partial {
    var all = m;
    for (var k = 0u; k < FLIGHT; k += 1u) { all = partial_push_some(all, (*chunk)[k], Live(true), known); }
    all.count = Count(even(m.count) + f32(FLIGHT));
    return all;
}
