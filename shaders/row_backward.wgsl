// Backward of contiguous segments held in registers, whose scale and bias belong to columns: x and grad_output are read
// once.
//
//   for each worker (a workgroup of groups of LANES lanes), for ROWS rows at a time of each group:
//       x_hat = (x - mean) * r                                                 r: made of the row's moments
//       column sums of bias += g,  of scale += g * x_hat                       g: the gradient to the output
//       g *= scale;  means of g and of g * x_hat over the row                  one exchange of the lanes for two rows
//       grad_input = (g - mean(g) - x_hat * mean(g * x_hat) * slope) * r
//   partial[worker] = column sums of all groups                                merge_columns adds them up
//
// Departures:
// 1. A worker takes rows of one block by grid stride: rows that share their parameters, so that scale stays in
//    registers. It takes TURNS steps at most, and normalizers of all its rows are made first, a lane a row: rare ones
//    take a long way.
// 2. g is taken less the first g of the row, where that changes nothing (SHIFTS): the mean of gradients that have a
//    large one costs no digits.
// 3. A row whose sums overflow or vanish, or that has a unit of its own, is not stored, but done again by streaming
//    after the loop, which only marks it.
// 4. The rows of the next step are read before lanes wait for each other's sums (AHEAD), where they have the registers.
// 5. Rows of an odd number of halves are written two by two (lib/gradient/pairs.wgsl).
// 6. Lanes past the end of a row hold zeros; rows past the last are the last one once more, with gradients of 0.
//
// bindings: parameters, input, grad_output, moments, [scale] (read), [grad_input], [column_sums, or grad_scale and
// grad_bias] (write)

struct RowBackward {
    rows: u32,         // rows of a block
    parts: u32,        // blocks side by side: a row of theirs is followed by those of the others
    workers: u32,      // workgroups of a block
    width: u32,
    inverse_len: f32,
}
override MAPS: bool = true;              // grad_input is wanted
override SUMS: bool = true;              // grad_scale or grad_bias is wanted
override AHEAD: bool = false;
alias Tile = array<vec4<f32>, ROWS * VECTORS>;

// What is read waits as it is stored.
alias PackedX = array<Taken, ROWS * VECTORS>;
alias PackedG = array<Given, ROWS * VECTORS>;
fn read_rows(at: Worker, place: u32, x: ptr<function, PackedX>, g: ptr<function, PackedG>,
    start: ptr<function, array<f32, ROWS>>) {
    for (var r = 0u; r < ROWS; r += 1u) {
        let row = row_of(at, place + r);
        for (var v = 0u; v < VECTORS; v += 1u) {
            (*x)[r * VECTORS + v] = fetch4(row, vector_of(row, v));
            (*g)[r * VECTORS + v] = fetch_grad4(row, vector_of(row, v));
        }
        if SHIFTS { (*start)[r] = first_of(row); }
    }
}

fn run(group: u32, local: u32) {
    enter_lanes(local);
    let at = worker_of(group);
    know(at, local);
    let parameters = affine_at(at.segment);
    let columns = row_of(at, 0u);
    var scale: array<vec4<f32>, VECTORS>;
    var d_scale: array<vec4<f32>, VECTORS>;
    var d_bias: array<vec4<f32>, VECTORS>;
    // whether products with a scale may vanish, all of them
    var weighs_little = false;
    for (var v = 0u; v < VECTORS; v += 1u) {
        scale[v] = column_scale4(parameters, columns, v);
        weighs_little |= any((abs(scale[v]) < vec4(9.3e-10)) & (scale[v] != vec4(0.0)));
    }
    let first_scale = load_scale(parameters.first);
    var marks = 0u;
    var known = me.group * TURNS * ROWS;
    var half = 0u;
    var next_x: PackedX;
    var next_g: PackedG;
    var next_start: array<f32, ROWS>;
    if AHEAD { read_rows(at, at.first + me.group * ROWS, &next_x, &next_g, &next_start); }
    for (var step = at.first; is_row(step); step += at.stride) {
        let place = step + me.group * ROWS;
        if !AHEAD { read_rows(at, place, &next_x, &next_g, &next_start); }
        var x: Tile;   // then what `pulled4` takes of it
        var g: Tile;
        var start = next_start;
        for (var r = 0u; r < ROWS; r += 1u) { start[r] *= first_scale; }
        var sums: array<vec2<f32>, ROWS>;
        for (var r = 0u; r < ROWS; r += 1u) {
            let row = row_of(at, place + r);
            let by = splat_normalizer(normalizers[known + r]);
            // 0 or 1, a product for the compiler: of a sum NVIDIA's makes 40 moves of registers more
            let counts = select(0.0, 1.0, is_row(place + r));
            var sum_g = vec4(0.0);
            var sum_g_x_hat = vec4(0.0);
            for (var v = 0u; v < VECTORS; v += 1u) {
                let k = r * VECTORS + v;
                let here = is_here(row, v);
                x[k] = select(vec4(0.0), kept4(taken4(next_x[k]), by), here);
                g[k] = select(vec4(0.0), given4(next_g[k]), here & vec4(is_row(place + r)));
                let x_hat = hat_of_kept4(x[k], by);
                if SUMS {
                    d_bias[v] = fma(g[k], vec4(counts), d_bias[v]);
                    d_scale[v] = fma(g[k], seen4(x_hat), d_scale[v]);
                }
                g[k] = select(vec4(0.0), fma(g[k], scale[v], vec4(-start[r])), here);
                sum_g += g[k];
                sum_g_x_hat = fma(g[k], x_hat, sum_g_x_hat);
            }
            sums[r] = vec2(total(sum_g), total(sum_g_x_hat));
            sums[r].x = unless_lost(sums[r].x, weighs_little & (sums[r].x == 0.0) & (sums[r].y == 0.0));
        }
        if AHEAD && is_row(step + at.stride) { read_rows(at, place + at.stride, &next_x, &next_g, &next_start); }
        if MAPS { exchange(&sums, half); }
        half = SLOTS / 2u - half;
        var ordinary: array<bool, ROWS>;
        for (var r = 0u; r < ROWS && MAPS; r += 1u) {
            let by = splat_normalizer(normalizers[known + r]);
            let slope = slope_of_row(known + r);
            let means = sums[r] * p.row_backward.inverse_len;
            let pull = Pull4(-means.x * by.r, -means.y * slope.x * by.r, slope.yyyy);
            for (var v = 0u; v < VECTORS; v += 1u) {
                let k = r * VECTORS + v;
                g[k] = pulled4(g[k], x[k], by.r, pull);
                if !PLAIN { g[k] *= by.k; }
            }
            // no branches, hence no && and ||
            let size = abs(sums[r].x) + abs(sums[r].y) + abs(start[r]);
            ordinary[r] = keeps(size) & (by.k.x == 1.0);
            if !PLAIN {
                let reach = by.r.x * by.k.x;
                ordinary[r] = keeps(size) & is_ordinary(reach) & keeps(size * p.row_backward.inverse_len * reach);
            }
        }
        agree(&ordinary);
        for (var r = 0u; r < ROWS && MAPS; r += 1u) {
            marks |= select(0u, 1u << ((known + r) % (TURNS * ROWS)), is_row(place + r) & !ordinary[r]);
        }
        // columns of elements are made anew, not kept in registers meanwhile
        if !FULL { me.lane ^= p.exact.zero; }
        if MAPS { store_rows(at, place, ordinary, &g); }
        known += ROWS;
    }
    let again = join_columns(&d_scale, &d_bias, local);
    for (var v = 0u; v < VECTORS && SUMS; v += 1u) {
        var sums = mat2x4(d_scale[v], d_bias[v]);
        if again { sums = tiny_columns(sums, columns_again(at, v), local, LANES); }
        if me.group == 0u && group < p.places.workgroups {
            leave_scale(group, parameters.first, columns, column_vector(v), sums[0]);
            leave_bias(group, parameters.first, columns, column_vector(v), sums[1]);
        }
    }
    if MAPS && any_lanes(marks != 0u) { map_again(at, parameters, marks); }
}
