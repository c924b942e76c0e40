// The walk that makes records of gradient sums.

// Whether all that is walked shares its records.
override HOISTED: bool = false;

// What is known of the segments of a walk.
struct Known {
    by: Normalizer,
    run: Run,  // first run of the walk
}

fn known_at(run: Run, i: u32) -> Known {
    return Known(normalizer_at(run, i), run);
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
        if !HOISTED { by = normalizer_at(Run(low, 0u, span.width), i); }
        let dy = gradients[k] * weight_at(i, low, span.width, known.run);
        let here = is_live(span.live, k);
        let part = select(none, dy * SHRINK, here);
        g += part;
        g_x_hat += select(none, part * normalized(x, by), here);
        g_x += select(none, part * x, here);
    }
    let pushed = Partial(total(g), total(g_x_hat), total(g_x), count_of(span.live));
    return partial_combine(partial, pushed);
}

// The scales of a quad (1 where sums have no weights): neighbours, counted from the first run of the walk, or looked up.
fn weight_at(i: u32, low: u32, width: u32, walk: Run) -> vec4<f32> {
    if AFFINE == HELD && AFFINE_ALONG {
        let first = segment_at(params.affine, walk.first) - params.affine_base + low - walk.first;
        return load4_scale(first + i - low, first, width);
    }
    return scale_at(Run(low, 0u, width), i);
}
