// A reduction of gradients, to gradient sums: see README.md. g is the gradient to the output, times the scale (WEIGHED)
// where the sums are those of statistics segments whose elements differ in it.

struct Gradients {
    statistics: Lookup,
    first_row: u32,     // rows and columns before the window
    first_column: u32,
}
override STATISTICS: u32 = 0u;          // as AFFINE: ROW, COLUMNS, MIXED
// a walk meets many statistics segments: their normalizers are those of coefficients
override BY_ELEMENT: bool = false;
override WEIGHED: bool = false;
override PRODUCTS: bool = false;        // of sums that are not finite that of g * x is wanted

// What normalizes the elements of a walk, and what gradients are multiplied with: 1, or in a second attempt a power of
// two that makes their sums ordinary. In a third one x is taken as it is.
struct Known { k: Sum, mean: Sum, rest: Sum, r: Sum, to_unit: Sum }
struct Fetched {
    x: Taken,
    g: Given,
    weight: vec4<f32>,
    by: Normalizer4,
}

// Numbers of the statistics segments of vector j of row n.
fn statistics_of(n: u32, row: Row, j: u32) -> vec4<u32> {
    let first = vec4(lookup_row(p.gradients.statistics, p.gradients.first_row + n));
    if STATISTICS == ROW { return first; }
    let c = min(columns_of(row, j), vec4(row.width - 1u)) + p.gradients.first_column;
    if STATISTICS == COLUMNS { return first + c; }
    return first + c / p.gradients.statistics.run % p.gradients.statistics.wrap;
}
fn join_normalizers(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> Normalizer4 {
    let by = transpose(mat4x4(a, b, c, d));
    return Normalizer4(by[0], by[1], by[2], by[3]);
}
fn known_at(n: u32, row: Row, j: u32) -> Known {
    var by: Normalizer4;
    if !BY_ELEMENT {
        let at = statistics_of(n, row, j);
        let first = normalizer(load_moments(at.x));
        by = splat_normalizer(first);
        if STATISTICS != ROW {
            by = join_normalizers(first, normalizer(load_moments(at.y)), normalizer(load_moments(at.z)),
                normalizer(load_moments(at.w)));
        }
    }
    return known_by(by, Sum(1.0));
}
fn known_by(by: Normalizer4, to_unit: Sum) -> Known {
    return Known(sum_of(by.k), sum_of(by.mean), sum_of(by.rest), sum_of(by.r), to_unit);
}
fn fetch(n: u32, row: Row, j: u32) -> Fetched {
    var f: Fetched;
    f.x = fetch4(row, j);
    f.g = fetch_grad4(row, j);
    if WEIGHED { f.weight = scale4(affine_at(n), row, j); }
    if BY_ELEMENT {
        let at = 2u * statistics_of(n, row, j);
        f.by = join_normalizers(load_coefficients(at.x), load_coefficients(at.y), load_coefficients(at.z),
            load_coefficients(at.w));
    }
    return f;
}

// `little`: 1 where a weight was so small that products with it may have vanished, all of them.
struct Partial { g: vec4<f32>, g_x_hat: vec4<f32>, count: Count, little: u32 }
struct Whole { g: Sum, g_x_hat: Sum, g_x: Sum, count: f32, little: Bits }
fn partial_none() -> Partial { return Partial(vec4(0.0), vec4(0.0), Count(0.0), 0u); }
fn partial_push_some(m: Partial, f: Fetched, live: Live, known: Known) -> Partial {
    let x = taken4(f.x);
    var g = given4(f.g) * splat(known.to_unit);
    if WEIGHED { g *= f.weight; }
    var by = Normalizer4(splat(known.k), splat(known.mean), splat(known.rest), splat(known.r));
    if BY_ELEMENT { by = f.by; by.k = abs(by.k); }
    g = select(vec4(0.0), g, live);
    var sum = m;
    if WEIGHED { sum.little |= select(0u, 1u, any((abs(f.weight) < vec4(9.3e-10)) & (f.weight != vec4(0.0)))); }
    sum.g += g;
    sum.g_x_hat = fma(g, select(vec4(0.0), seen4(hat4(x, by)), live), sum.g_x_hat);
    sum.count += select(Count(0.0), Count(1.0), live);
    return sum;
}
fn whole_of(m: Partial, known: Known) -> Whole {
    let g = sum_counted(m.g, m.count, 0u);
    var little: Bits;
    if WEIGHED { little = max_all(vec4(m.little), 3u); }
    return Whole(g.sum, sum_all(m.g_x_hat, 1u), Sum(0.0), g.count, little);
}
fn record_of(whole: Whole, known: Known, e: u32) -> vec4<f32> {
    let sums = vec3(component(whole.g, e), component(whole.g_x_hat, e), component(whole.g_x, e));
    return sums_of(sums, component(known.to_unit, e), whole.count);
}
fn record_merged(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> { return sums_merged(a, b); }

fn attempts() -> u32 { return select(2u, 3u, PRODUCTS); }
fn joined(first: Whole, again: Whole, attempt: u32) -> Whole {
    if !PRODUCTS || attempt < 2u { return again; }
    return Whole(again.g, first.g_x_hat, again.g_x_hat, again.count, again.little);
}
// Sums that overflowed, or so small that products may have vanished; then, what is not finite in any unit.
fn is_rare(whole: Whole, known: Known, attempt: u32) -> bool {
    let g = splat(whole.g);
    let h = splat(whole.g_x_hat);
    if PRODUCTS && attempt > 0u {
        return any((magnitude_bits4(g) >= vec4(INFINITY)) | (magnitude_bits4(h) >= vec4(INFINITY)));
    }
    let lost = any((splat_bits(whole.little) != vec4(0u)) & (g == vec4(0.0)) & (h == vec4(0.0)));
    return !(keep_all(g.x, h.x) & keep_all(g.y, h.y) & keep_all(g.z, h.z) & keep_all(g.w, h.w)) | lost;
}
struct Extremes { fields: vec4<u32> }
fn extremes_none() -> Extremes { return Extremes(vec4(0u)); }
fn extremes_push(e: Extremes, f: Fetched, live: vec4<bool>) -> Extremes {
    var weight = vec4(1.0);
    if WEIGHED { weight = f.weight; }
    return Extremes(max(e.fields, select(vec4(0u), fields4(given4(f.g), weight), live)));
}
fn known_again(known: Known, e: Extremes, attempt: u32) -> Known {
    if PRODUCTS && attempt > 0u { return known_by(splat_normalizer(vec4(1.0, 0.0, 0.0, 1.0)), known.to_unit); }
    let top = splat_bits(max_all(e.fields, 3u));
    var next = known;
    next.to_unit = sum_of(vec4(to_units(top.x), to_units(top.y), to_units(top.z), to_units(top.w)));
    return next;
}
