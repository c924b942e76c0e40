// Of map_backward: coefficients of a vector, and what is done again where numbers leave the range of f32.

// The coefficients of vector v of a row.
fn coefficients_of(n: u32, row: Row, v: u32) -> Coefficients4 {
    if STATISTICS == ROW { return splat_coefficients(coefficients_at(n, 0u)); }
    let c = min(columns_of(row, vector_of(row, v)), vec4(row.width - 1u));
    return join_coefficients(coefficients_at(n, run_of(c.x)), coefficients_at(n, run_of(c.y)),
        coefficients_at(n, run_of(c.z)), coefficients_at(n, run_of(c.w)));
}
// The gradients to a line's rows of a slice, where they take the long way of lib/coefficients.wgsl: they were not
// stored.
fn map_again(base: u32, n: u32, first: u32, end: u32) {
    for (var r = first; r < end; r += WORKGROUP / LANES) {
        let row = row_of(base + r);
        for (var v = p.exact.zero; v < VECTORS; v += 1u) {
            if are_common(coefficients_of(n + r, row, v).by) { continue; }
            let c = min(columns_of(row, vector_of(row, v)), vec4(row.width - 1u));
            let x = take4(row, vector_of(row, v));
            let dy = grad4(row, vector_of(row, v));
            let scale = scale4(affine_at(base + r), row, vector_of(row, v));
            var u: vec4<f32>;
            for (var e = 0u; e < 4u; e += 1u) {
                let own = coefficients_at(n + r, select(run_of(c[e]), 0u, STATISTICS == ROW));
                u[e] = careful_gradient(x[e], dy[e], scale[e], own);
            }
            give_gradient4(row, lane_vector(v), is_here(row, v), u);
        }
    }
}
// The sums of vector v of the columns over a line's rows of a slice, lifted.
fn columns_again(base: u32, n: u32, first: u32, end: u32, v: u32) -> mat2x4<f32> {
    var sums = mat2x4<f32>();
    for (var r = first; r < end; r += WORKGROUP / LANES) {
        let row = row_of(base + r);
        let here = is_here(row, v);
        let x_hat = hat_of_coefficients4(take4(row, vector_of(row, v)), coefficients_of(n + r, row, v).by);
        let dy = select(vec4(0.0), grad4(row, vector_of(row, v)) * LIFT, here);
        sums += mat2x4(dy * select(vec4(0.0), seen4(x_hat), here), dy);
    }
    return sums;
}
