//! What stands around a norm, from JSON.

use wgpu_norm::*;

use crate::error::Result;
use crate::field::{Arena, Field};
use crate::views::ELEMENTS;

pub(crate) fn read<'l>(field: &Field<'_>, lists: &'l Arena) -> Result<Fusion<'l>> {
    field.only(&["prologue", "onePlusScale", "normalizedRounding", "modulation", "epilogue", "quantization"])?;
    let mut fusion = Fusion::default();
    if let Some(field) = field.get("prologue") {
        fusion.prologue = prologue(&field, lists)?;
    }
    fusion.one_plus_scale = field.flag("onePlusScale", false)?;
    let roundings = [("none", NormalizedRounding::None), ("as-output", NormalizedRounding::AsOutput)];
    fusion.normalized_rounding = field.word("normalizedRounding", &roundings)?;
    fusion.modulation = field.get("modulation").map(|field| modulation(&field, lists)).transpose()?;
    if let Some(field) = field.get("epilogue") {
        fusion.epilogue = epilogue(&field, lists)?;
    }
    fusion.quantization = field.get("quantization").map(|field| quantization(&field)).transpose()?;
    Ok(fusion)
}

fn prologue<'l>(field: &Field<'_>, lists: &'l Arena) -> Result<Prologue<'l>> {
    field.only(&["multiplier", "bias", "residual", "rounding"])?;
    let mut prologue = Prologue::default();
    if let Some(field) = field.get("multiplier") {
        let multiplier = field.tag(&["gate", "activation"])?;
        prologue.multiplier = match multiplier.name() {
            "gate" => Multiplier::Gate(multiplier.axes(lists)?),
            _ => Multiplier::Activation(activation(&multiplier)?),
        };
    }
    prologue.bias = field.optional_axes("bias", lists)?;
    prologue.residual = field.optional_axes("residual", lists)?;
    let [f32, f16, bf16] = ELEMENTS.map(|(name, element)| (name, SumRounding::AsStored(element)));
    prologue.rounding = field.word("rounding", &[("exact", SumRounding::Exact), f32, f16, bf16])?;
    Ok(prologue)
}

fn modulation<'l>(field: &Field<'_>, lists: &'l Arena) -> Result<Modulation<'l>> {
    field.only(&["axes", "scale", "shift", "onePlus"])?;
    Ok(Modulation {
        axes: field.required("axes")?.axes(lists)?,
        scale: field.flag("scale", true)?,
        shift: field.flag("shift", true)?,
        one_plus: field.flag("onePlus", true)?,
    })
}

fn epilogue<'l>(field: &Field<'_>, lists: &'l Arena) -> Result<Epilogue<'l>> {
    field.only(&["addend", "activation", "gate", "outGate", "outResidual", "factor"])?;
    let function = |name| field.get(name).map(|field| activation(&field)).transpose();
    let mut epilogue = Epilogue::default();
    epilogue.addend = field.flag("addend", false)?;
    epilogue.activation = function("activation")?.unwrap_or_default();
    epilogue.gate = function("gate")?;
    epilogue.out_gate = field.optional_axes("outGate", lists)?;
    epilogue.out_residual = field.flag("outResidual", false)?;
    if let Some(field) = field.get("factor") {
        epilogue.factor = field.number()?;
    }
    Ok(epilogue)
}

fn activation(field: &Field<'_>) -> Result<Activation> {
    if field.value.is_object() {
        return Ok(Activation::LeakyRelu { slope: field.tag(&["leakyRelu"])?.number()? });
    }
    field.one_of(&[
        ("identity", Activation::Identity),
        ("relu", Activation::Relu),
        ("silu", Activation::Silu),
        ("gelu", Activation::Gelu),
        ("gelu-tanh", Activation::GeluTanh),
        ("sigmoid", Activation::Sigmoid),
    ])
}

fn quantization(field: &Field<'_>) -> Result<Quantization> {
    field.only(&["format", "scale", "least"])?;
    let format = field.required("format")?.one_of(&[("int8", QuantFormat::Int8), ("e4m3", QuantFormat::E4m3)])?;
    let scale = field.required("scale")?;
    let scale = match scale.value.is_object() {
        true => QuantScale::Block { columns: scale.tag(&["block"])?.whole()? },
        false => scale.one_of(&[("row", QuantScale::Row), ("static", QuantScale::Static)])?,
    };
    let quantization = Quantization::new(format, scale);
    Ok(match field.get("least") {
        Some(field) => quantization.least(field.number()?),
        None => quantization,
    })
}
