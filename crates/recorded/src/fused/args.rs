//! Operands of a fused norm by their recorded names.

use wgpu_norm::{Buffer, FusedArgs, FusedGradients, TensorView};

/// All operands that a case can have.
pub const OPERANDS: [&str; 16] = [
    "input",
    "weight",
    "bias",
    "residual",
    "gate",
    "z",
    "prologue_bias",
    "mod_scale",
    "mod_shift",
    "addend",
    "out_gate",
    "out_residual",
    "dy",
    "dsum",
    "dx_addend",
    "static_scale",
];

/// The gradients that a backward pass can give.
pub const GRADIENTS: [&str; 11] = [
    "dx",
    "dweight",
    "dbias",
    "dresidual",
    "dgate",
    "dz",
    "dprologue_bias",
    "dmod_scale",
    "dmod_shift",
    "daddend",
    "dout_gate",
];

/// What a forward pass takes beside input, weight and bias; the place of the sum is not among it.
pub fn forward<B: Buffer>(get: impl Fn(&str) -> Option<TensorView<B>>) -> FusedArgs<B> {
    backward(&get)
        .residual(get("residual"))
        .prologue_bias(get("prologue_bias"))
        .out_residual(get("out_residual"))
        .static_scale(get("static_scale"))
}

/// What a backward pass takes of that: all but what is only added. The input of the forward pass is not among it.
pub fn backward<B: Buffer>(get: impl Fn(&str) -> Option<TensorView<B>>) -> FusedArgs<B> {
    FusedArgs::default()
        .gate(get("gate"))
        .z(get("z"))
        .modulation_scale(get("mod_scale"))
        .modulation_shift(get("mod_shift"))
        .addend(get("addend"))
        .out_gate(get("out_gate"))
}

/// Gradients beside those to input, weight and bias; one that arrives is not among them.
pub fn gradients<B: Buffer>(get: impl Fn(&str) -> Option<TensorView<B>>) -> FusedGradients<B> {
    FusedGradients::default()
        .residual(get("dresidual"))
        .gate(get("dgate"))
        .z(get("dz"))
        .prologue_bias(get("dprologue_bias"))
        .modulation_scale(get("dmod_scale"))
        .modulation_shift(get("dmod_shift"))
        .addend(get("daddend"))
        .out_gate(get("dout_gate"))
}
