// Functions of one number, and their slopes: which of them says `kind`, a constant of the pipeline.
//
// Exponentials that overflow make quotients of 0, which is what they tend to. erf is by two polynomials, of t^2 and in
// an exponential, within an ulp (N. Juffa, minimax). NaN stays NaN: comparisons with it are false, and where it passes
// an exponential or a clamp, which may give numbers for it, it is put back.
const IDENTITY = 0u;
const RELU = 1u;
const LEAKY_RELU = 2u;
const SILU = 3u;
const GELU = 4u;
const GELU_TANH = 5u;
const SIGMOID = 6u;
const ONE = 7u;           // no function: z, if it is there at all, belongs to another

fn activation4(kind: u32, slope: f32, t: vec4<f32>) -> vec4<f32> {
    switch kind {
        case RELU: { return select(t, vec4(0.0), t < vec4(0.0)); }
        case LEAKY_RELU: { return select(t, t * slope, t < vec4(0.0)); }
        case SILU: { return t / (1.0 + exp(-t)); }
        case GELU: { return t * normal_below4(t); }
        case GELU_TANH: { return t * sigmoid4(2.0 * tanh_argument4(t)); }
        case SIGMOID: { return nan_where4(sigmoid4(t), t); }
        case ONE: { return vec4(1.0); }
        default: { return t; }
    }
}
fn activation_slope4(kind: u32, slope: f32, t: vec4<f32>) -> vec4<f32> {
    switch kind {
        case RELU: { return nan_where4(select(vec4(0.0), vec4(1.0), t > vec4(0.0)), t); }
        case LEAKY_RELU: { return nan_where4(select(vec4(slope), vec4(1.0), t > vec4(0.0)), t); }
        case SILU: {
            let s = sigmoid4(t);
            return nan_where4(s * fma(clamp(t, vec4(-FAR), vec4(FAR)), 1.0 - s, vec4(1.0)), t);
        }
        case GELU: {
            let near = clamp(t, vec4(-FAR), vec4(FAR));
            return nan_where4(fma(near, 0.3989422804 * exp(-0.5 * near * near), normal_below4(t)), t);
        }
        case GELU_TANH: {
            let near = clamp(t, vec4(-FAR), vec4(FAR));
            let s = sigmoid4(2.0 * tanh_argument4(t));
            let bent = fma(near * (1.0 - s), 1.5957691216 * fma(vec4(0.134145), near * near, vec4(1.0)), vec4(1.0));
            return nan_where4(s * bent, t);
        }
        case SIGMOID: {
            let s = sigmoid4(t);
            return nan_where4(s * (1.0 - s), t);
        }
        case ONE: { return vec4(0.0); }
        default: { return vec4(1.0); }
    }
}
// A value made of comparisons, a clamped number or an exponential; NaN where t is NaN.
fn nan_where4(value: vec4<f32>, t: vec4<f32>) -> vec4<f32> {
    return select(value, t, magnitude_bits4(t) > vec4(INFINITY));
}
// Beyond it slopes are 0 or 1.
const FAR = 100.0;
fn sigmoid4(t: vec4<f32>) -> vec4<f32> { return 1.0 / (1.0 + exp(-t)); }
fn tanh_argument4(t: vec4<f32>) -> vec4<f32> {
    let near = clamp(t, vec4(-FAR), vec4(FAR));
    return 0.7978845608 * near * fma(vec4(0.044715), near * near, vec4(1.0));
}
// The normal distribution below t: (1 + erf(t / sqrt(2))) / 2.
fn normal_below4(t: vec4<f32>) -> vec4<f32> {
    let a = clamp(t, vec4(-FAR), vec4(FAR)) * 0.7071067812;
    let s = a * a;
    let m = abs(a);
    let far = fma(fma(fma(vec4(-1.72853470e-5), m, vec4(3.83197126e-4)), s,
        fma(vec4(-3.88396438e-3), m, vec4(2.42546219e-2))), m, vec4(-1.06777877e-1));
    let tail = exp(fma(fma(fma(far, m, vec4(-6.34846687e-1)), m, vec4(-1.28717512e-1)), m, -m));
    let near = fma(fma(fma(fma(fma(vec4(-5.96761703e-4), s, vec4(4.99119423e-3)), s, vec4(-2.67681349e-2)), s,
        vec4(1.12819925e-1)), s, vec4(-3.76125336e-1)), s, vec4(1.28379166e-1));
    let below = select(1.0 - 0.5 * tail, 0.5 * tail, a < vec4(0.0));
    return select(fma(vec4(0.5), fma(near, a, a), vec4(0.5)), below, m > vec4(0.927734375));
}
