// The walk that makes records of gradient sums.

// Whether all that is walked shares its records.
override HOISTED: bool = false;

// What is known of the segments of a walk.
struct Known {
    by: Normalizer,
    first: u32,      // first element of the walk
    parameter: u32,  // its parameter
}

fn known_at(run: Run, i: u32) -> Known {
    let record = record_at(digits_at(params.statistics, run.first));
    return Known(normalizer_at(run, record, i), run.first, parameter_at(digits_at(params.affine, run.first)));
}

fn partial_start(run: Run, column: u32) -> Partial {
    return partial_none();
}

fn partial_push(partial: Partial, span: Span, known: Known) -> Partial {
    let none = vec4<f32>(0.0);
    var inputs: Chunk;
    var gradients: Chunk;
    for (var k = 0u; k < QUADS; k += 1u) {
        inputs[k] = load4_input(place_of(span, k), low_of(span, k), span.width);
        gradients[k] = load4_grad_output(place_of(span, k), low_of(span, k), span.width);
    }
    var g = none;
    var g_x_hat = none;
    var g_x = none;
    for (var k = 0u; k < QUADS; k += 1u) {
        let i = place_of(span, k);
        let low = low_of(span, k);
        let x = inputs[k];
        var by = known.by;
        if !HOISTED { by = normalizer_at(Run(low, 0u, span.width), 0u, i); }
        // neighbours are counted from the start of the walk
        let dy = gradients[k] * scale_at(Run(low, 0u, span.width), known.parameter + low - known.first, i);
        let here = is_live(span.live, k);
        let part = select(none, dy * SHRINK, here);
        g += part;
        g_x_hat += select(none, part * normalized(x, by), here);
        g_x += select(none, part * x, here);
    }
    let pushed = Partial(total(g), total(g_x_hat), total(g_x), count_of(span.live));
    return partial_combine(partial, pushed);
}
