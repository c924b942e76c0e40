// What one dispatch needs to know. Mirrored by `Params` in src/params.rs, field by field.

// Segment of a flat element index, as mixed-radix digits (kept_outer, reduced_outer, kept_inner, reduced_inner).
struct Index {
    dims: vec4<u32>,   // sizes of the four slots
    first: vec4<u32>,  // digits of the window's first element, kept_outer counted from 0
    step: vec4<u32>,   // digits of the distance of two rows that a map walks in turn
}

// Rows of the innermost axis in memory.
struct Rows {
    length: u32,  // elements of a row
    stride: u32,  // distance between the starts of two rows
    column: u32,  // column of the window's first element
    pad: u32,
}

struct Params {
    zero: u32,           // 0, unknown to the compiler: see exact.wgsl
    nan: u32,            // bits of a NaN
    infinity: u32,       // bits of infinity
    inverse_of_zero: u32,// bits of what 1 / 0 becomes
    segments: u32,       // segments of the window
    slices: u32,         // slices of a segment
    slice_len: u32,      // units of a slice: parts of runs, or rows
    record_first: u32,   // record (merge: segment) of the window's first segment
    record_stride: u32,  // records of one slice
    samples: u32,        // segments that one running value averages
    statistics_base: u32,// segment that is record 0 of the binding
    affine_base: u32,    // segment that is element 0 of the binding
    folded_scale: u32,   // bits of the scale that is folded with the mean: infinity, or what no magnitude has
    phase: u32,          // place of the window's first element in a quad of its binding
    width: u32,          // elements of a run: what is walked along memory
    rows: u32,           // runs that share what is held: rows of a block, or of an outer segment; runs of an item
    parts: u32,          // parts of a run (reduce), tiles of a row (maps), items of a row, chunks of an item's run
    turns: u32,          // tiles that an invocation maps one after the other; columns that it reduces so; chunks of an item
    blocks: u32,         // walkers of the rows: blocks of them, or rows apart
    spacing: u32,        // distance of the rows that a walker walks: as many as neighbours walk, as start alike or share what is held
    window: vec4<u32>,   // the window's own partition
    statistics: Index,
    affine: Index,
    input_rows: Rows,
    output_rows: Rows,
    gradient_rows: Rows,
    offsets: array<vec4<u32>, 3>,  // where operand k starts in its binding, in elements
    eps_inside: f32,     // added inside the root
    eps_added: f32,      // added to the root
    eps_minimum: f32,    // smallest divisor
    factor: f32,         // on the variance: n / (n - 1), or n where a norm is a sum
    p: f32,              // order of the norm
    momentum: f32,       // weight of the new value; negative: see cumulative
    gradient_factor: vec2<f32>,  // on the sums that become gradients to bias and scale
    weighted: u32,       // 1: merged records are multiplied by the scale
    frozen: u32,         // 1: statistics are given, not computed from the input
    scale_last: u32,     // 1: the scale is a factor of the gradient to the input, not a weight in its sums
    products: u32,       // 1: sums that are not finite enter the gradient by products with x
    cumulative: u32,     // 1: weight is 1 / (updates so far + 1)
    unbiased: u32,       // 1: running variance takes n / (n - 1)
    pad: vec2<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;

// Invocations of a workgroup, how many of them share a segment, and how many of those a run of it (powers of two).
override WORKGROUP_SIZE: u32 = 64u;
override LANES: u32 = 64u;
override RUN_LANES: u32 = 64u;

// Whether records and sums are combined with those that are there, of the windows before.
override RESUMES: bool = false;

// How records and parameters are found: held for the columns of a tile, once a row, or for every element: see found.wgsl.
const HELD = 0u;
const BY_ROW = 1u;
const BY_ELEMENT = 2u;
override STATISTICS: u32 = 0u;
override AFFINE: u32 = 0u;

// Quotient and remainder, by one division.
fn divided(a: u32, b: u32) -> vec2<u32> {
    let quotient = a / b;
    return vec2<u32>(quotient, a - quotient * b);
}

// Index of a workgroup in a grid that is folded into two dimensions (65535 is the limit of one).
fn workgroup_index(workgroup: vec3<u32>, workgroups: vec3<u32>) -> u32 {
    return workgroup.y * workgroups.x + workgroup.x;
}

// Where element i of the window lies, rows padded.
fn padded(rows: Rows, i: u32) -> u32 {
    let at = divided(rows.column + i, rows.length);
    return at.x * rows.stride + at.y - rows.column;
}
