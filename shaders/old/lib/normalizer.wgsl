// x_hat = ((x - shift) - rest) * inverse

struct Normalizer {
    shift: vec4<f32>,
    rest: vec4<f32>,
    inverse: vec4<f32>,
}

// (shift, rest, inverse) of a record.
fn record_normalizer(record: vec4<f32>) -> vec3<f32> {
    let divisor = at_least(record_divisor(record), params.eps_minimum) + params.eps_added;
    return vec3<f32>(record_center(record), inverse(divisor));
}

// Of one segment for the four elements of a quad.
fn normalizer(record: vec4<f32>) -> Normalizer {
    return for_quad(record_normalizer(record));
}

fn for_quad(by: vec3<f32>) -> Normalizer {
    return Normalizer(vec4<f32>(by.x), vec4<f32>(by.y), vec4<f32>(by.z));
}

// Of four segments.
fn normalizer4(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> Normalizer {
    let by = mat4x3<f32>(record_normalizer(a), record_normalizer(b), record_normalizer(c), record_normalizer(d));
    return Normalizer(
        vec4<f32>(by[0].x, by[1].x, by[2].x, by[3].x),
        vec4<f32>(by[0].y, by[1].y, by[2].y, by[3].y),
        vec4<f32>(by[0].z, by[1].z, by[2].z, by[3].z),
    );
}

fn normalized(x: vec4<f32>, by: Normalizer) -> vec4<f32> {
    return difference4(difference4(x, by.shift), by.rest) * by.inverse;
}
