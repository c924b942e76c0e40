// Sums of columns, where parameters belong to them: a record for each walker, which a merge adds up; or, where there is one walker, the
// gradients themselves.

override SUMS_COLUMNS: bool = false;
override ONE_WALKER: bool = false;

// Sums of the quad at element i of a row whose first column is number `first`, scaled by SHRINK.
fn add_columns(first: u32, row: Run, i: u32, d_bias: vec4<f32>, d_scale: vec4<f32>) {
    let low = params.record_first + first;
    if ONE_WALKER {
        let at = low + i - row.first;
        var bias = d_bias * GROW * params.gradient_factor.x;
        var scale = d_scale * GROW * params.gradient_factor.y;
        if RESUMES {
            bias += load4_grad_bias(at, low, row.width);
            scale += load4_grad_scale(at, low, row.width);
        }
        store4_grad_bias(at, bias, low, row.width);
        store4_grad_scale(at, scale, low, row.width);
        return;
    }
    for (var e = 0u; e < 4u; e += 1u) {
        let column = i + e - row.first;
        if column < row.width {
            var sums = vec4<f32>(d_bias[e], d_scale[e], 0.0, 1.0);
            if RESUMES { sums += load_partials(low + column); }
            store_partials(low + column, sums);
        }
    }
}
