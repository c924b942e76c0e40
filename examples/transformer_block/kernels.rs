//! The application's kernels, a compute shader each. They are the shortest that are right.

/// c = a b, or a b' where b is transposed.
pub const PRODUCT: &str = "
    override inner: u32;
    override columns: u32;
    override transposed: bool;
    @group(0) @binding(0) var<storage, read> a: array<f32>;
    @group(0) @binding(1) var<storage, read> b: array<f32>;
    @group(0) @binding(2) var<storage, read_write> c: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x >= arrayLength(&c) { return; }
        let row = id.x / columns;
        let column = id.x % columns;
        var sum = 0.0;
        for (var k = 0u; k < inner; k++) {
            sum += a[row * inner + k] * b[select(k * columns + column, column * inner + k, transposed)];
        }
        c[id.x] = sum;
    }
";

pub const SUM: &str = "
    @group(0) @binding(0) var<storage, read> a: array<f32>;
    @group(0) @binding(1) var<storage, read> b: array<f32>;
    @group(0) @binding(2) var<storage, read_write> c: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x < arrayLength(&c) { c[id.x] = a[id.x] + b[id.x]; }
    }
";

/// silu(gate) * up, of rows that hold one behind the other.
pub const GATED: &str = "
    override hidden: u32;
    @group(0) @binding(0) var<storage, read> both: array<f32>;
    @group(0) @binding(1) var<storage, read_write> product: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x >= arrayLength(&product) { return; }
        let at = id.x / hidden * 2u * hidden + id.x % hidden;
        product[id.x] = both[at] / (1.0 + exp(-both[at])) * both[at + hidden];
    }
";

pub const GATED_BACKWARD: &str = "
    override hidden: u32;
    @group(0) @binding(0) var<storage, read> both: array<f32>;
    @group(0) @binding(1) var<storage, read> grad_product: array<f32>;
    @group(0) @binding(2) var<storage, read_write> grad_both: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x >= arrayLength(&grad_product) { return; }
        let at = id.x / hidden * 2u * hidden + id.x % hidden;
        let gate = both[at];
        let sigmoid = 1.0 / (1.0 + exp(-gate));
        let slope = sigmoid * (1.0 + gate * (1.0 - sigmoid));
        grad_both[at] = grad_product[id.x] * both[at + hidden] * slope;
        grad_both[at + hidden] = grad_product[id.x] * gate * sigmoid;
    }
";

/// An invocation for each token and head. `normed` has the rows of q and k, `qkv` those of v; `weights` has what
/// the softmax gives each earlier token.
pub const ATTENTION: &str = "
    override tokens: u32;
    override heads: u32;
    override width: u32;
    @group(0) @binding(0) var<storage, read> normed: array<f32>;
    @group(0) @binding(1) var<storage, read> qkv: array<f32>;
    @group(0) @binding(2) var<storage, read_write> weights: array<f32>;
    @group(0) @binding(3) var<storage, read_write> mixed: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x >= tokens * heads { return; }
        let token = id.x / heads;
        let row = 3u * width;
        var largest = -3e38;
        for (var j = 0u; j <= token; j++) {
            let other = (j * heads + id.x % heads) * row + width;
            var score = 0.0;
            for (var d = 0u; d < width; d++) { score += normed[id.x * row + d] * normed[other + d]; }
            score /= sqrt(f32(width));
            weights[id.x * tokens + j] = score;
            largest = max(largest, score);
        }
        var total = 0.0;
        for (var j = 0u; j <= token; j++) { total += exp(weights[id.x * tokens + j] - largest); }
        for (var j = 0u; j <= token; j++) {
            weights[id.x * tokens + j] = exp(weights[id.x * tokens + j] - largest) / total;
        }
        for (var d = 0u; d < width; d++) {
            var sum = 0.0;
            for (var j = 0u; j <= token; j++) {
                sum += weights[id.x * tokens + j] * qkv[(j * heads + id.x % heads) * row + 2u * width + d];
            }
            mixed[id.x * width + d] = sum;
        }
    }
";

/// Gradients to the scores, and from them to q, in its place in `grad_normed`.
pub const ATTENTION_TO_Q: &str = "
    override tokens: u32;
    override heads: u32;
    override width: u32;
    @group(0) @binding(0) var<storage, read> normed: array<f32>;
    @group(0) @binding(1) var<storage, read> qkv: array<f32>;
    @group(0) @binding(2) var<storage, read> weights: array<f32>;
    @group(0) @binding(3) var<storage, read> grad_mixed: array<f32>;
    @group(0) @binding(4) var<storage, read_write> grad_scores: array<f32>;
    @group(0) @binding(5) var<storage, read_write> grad_normed: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x >= tokens * heads { return; }
        let token = id.x / heads;
        let row = 3u * width;
        var mean = 0.0;
        for (var j = 0u; j <= token; j++) {
            let v = (j * heads + id.x % heads) * row + 2u * width;
            var grad = 0.0;
            for (var d = 0u; d < width; d++) { grad += grad_mixed[id.x * width + d] * qkv[v + d]; }
            grad_scores[id.x * tokens + j] = grad;
            mean += weights[id.x * tokens + j] * grad;
        }
        for (var j = 0u; j <= token; j++) {
            let at = id.x * tokens + j;
            grad_scores[at] = weights[at] * (grad_scores[at] - mean) / sqrt(f32(width));
        }
        for (var d = 0u; d < width; d++) {
            var sum = 0.0;
            for (var j = 0u; j <= token; j++) {
                sum += grad_scores[id.x * tokens + j] * normed[(j * heads + id.x % heads) * row + width + d];
            }
            grad_normed[id.x * row + d] = sum;
        }
    }
";

/// Gradients to k, in its place in `grad_normed`, and to v, in its place in `grad_qkv`: what later tokens send.
pub const ATTENTION_TO_KV: &str = "
    override tokens: u32;
    override heads: u32;
    override width: u32;
    @group(0) @binding(0) var<storage, read> normed: array<f32>;
    @group(0) @binding(1) var<storage, read> weights: array<f32>;
    @group(0) @binding(2) var<storage, read> grad_mixed: array<f32>;
    @group(0) @binding(3) var<storage, read> grad_scores: array<f32>;
    @group(0) @binding(4) var<storage, read_write> grad_normed: array<f32>;
    @group(0) @binding(5) var<storage, read_write> grad_qkv: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x >= tokens * heads { return; }
        let token = id.x / heads;
        let row = 3u * width;
        for (var d = 0u; d < width; d++) {
            var to_k = 0.0;
            var to_v = 0.0;
            for (var i = token; i < tokens; i++) {
                let other = i * heads + id.x % heads;
                to_k += grad_scores[other * tokens + token] * normed[other * row + d];
                to_v += weights[other * tokens + token] * grad_mixed[other * width + d];
            }
            grad_normed[id.x * row + width + d] = to_k;
            grad_qkv[id.x * row + 2u * width + d] = to_v;
        }
    }
";
