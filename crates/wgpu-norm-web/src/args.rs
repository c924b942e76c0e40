//! Operations and what they take, from JSON: the fields of `src/norm/args.rs` of the library, in camel case.

use wgpu_norm::*;

use crate::descriptor::VARIANCES;
use crate::error::{ArgumentError, Error, Result};
use crate::field::Field;
use crate::views::{Bytes, Tensor, WebBuffer, missing};

type Answer = Result<Recipe<WebBuffer>>;

type Operation = fn(&NormPlan, &Field<'_>) -> Answer;

/// Operations of a norm.
const OPERATIONS: [(&str, Operation); 10] = [
    ("forward", forward),
    ("training", training),
    ("backward", backward),
    ("runningUpdate", running_update),
    ("export", export),
    ("import", import),
    ("moments", moments),
    ("merge", merge),
    ("gradientSums", gradient_sums),
    ("inputGradient", input_gradient),
];

/// An operation of a norm.
pub(crate) fn norm(plan: &NormPlan, operation: &str, args: &Field<'_>) -> Answer {
    match OPERATIONS.iter().find(|(name, _)| *name == operation) {
        Some((_, make)) => make(plan, args),
        None => Err(unknown(plan.kind(), operation, OPERATIONS.map(|(name, _)| name).to_vec())),
    }
}

/// An operation of an adaptive norm.
pub(crate) fn adaptive(plan: &AdaptivePlan, operation: &str, args: &Field<'_>) -> Answer {
    match operation {
        "forward" => adaptive_forward(plan, args),
        "backward" => adaptive_backward(plan, args),
        _ => Err(unknown("adain", operation, vec!["forward", "backward"])),
    }
}

/// An operation of a spectral norm.
pub(crate) fn spectral(plan: &SpectralPlan, operation: &str, args: &Field<'_>) -> Answer {
    match operation {
        "forward" => spectral_forward(plan, args),
        "backward" => spectral_backward(plan, args),
        _ => Err(unknown("spectral", operation, vec!["forward", "backward"])),
    }
}

fn unknown(kind: &'static str, operation: &str, known: Vec<&'static str>) -> Box<Error> {
    ArgumentError::UnknownOperation { kind, operation: operation.to_owned(), known }.into()
}

fn forward(plan: &NormPlan, fields: &Field<'_>) -> Answer {
    fields.only(&["input", "output", "scale", "bias", "statistics", "fused", "workspace"])?;
    let input = fields.needed_tensor("input", Operand::Input)?;
    let output = fields.needed_destination("output", Operand::Output)?;
    let mut args = ForwardArgs::new(input, output);
    if let Some(field) = fields.get("statistics") {
        let (is_given, view) = statistics(plan, &field)?;
        args.statistics = if is_given { StatisticsSource::Given(view) } else { StatisticsSource::Saved(view) };
    }
    fields.tensors(&mut [("scale", &mut args.scale), ("bias", &mut args.bias)])?;
    fused(fields, &mut args.fused)?;
    args.workspace = fields.workspace()?;
    Ok(plan.forward(&args)?)
}

fn training(plan: &NormPlan, fields: &Field<'_>) -> Answer {
    fields.only(&["input", "output", "saved", "scale", "bias", "fused", "workspace"])?;
    let input = fields.needed_tensor("input", Operand::Input)?;
    let output = fields.needed_destination("output", Operand::Output)?;
    let saved = fields.needed_bytes("saved", plan.statistics_size(), Operand::Moments)?;
    let mut args = TrainingArgs::new(input, output, saved);
    fields.tensors(&mut [("scale", &mut args.scale), ("bias", &mut args.bias)])?;
    fused(fields, &mut args.fused)?;
    args.workspace = fields.workspace()?;
    Ok(plan.training(&args)?)
}

fn backward(plan: &NormPlan, fields: &Field<'_>) -> Answer {
    let known = [
        "input",
        "gradOutput",
        "statistics",
        "scale",
        "bias",
        "gradInput",
        "gradScale",
        "gradBias",
        "fused",
        "fusedGradients",
        "workspace",
    ];
    fields.only(&known)?;
    let input = fields.needed_tensor("input", Operand::Input)?;
    let grad_output = fields.needed_tensor("gradOutput", Operand::GradOutput)?;
    let field = fields.get("statistics").ok_or_else(|| missing(Operand::Moments))?;
    let (is_given, view) = statistics(plan, &field)?;
    let statistics = if is_given { BackwardStatistics::Given(view) } else { BackwardStatistics::Saved(view) };
    let mut args = BackwardArgs::new(input, grad_output, statistics);
    fields.tensors(&mut [
        ("scale", &mut args.scale),
        ("bias", &mut args.bias),
        ("gradScale", &mut args.grad_scale),
        ("gradBias", &mut args.grad_bias),
    ])?;
    fused(fields, &mut args.fused)?;
    fused_gradients(fields, &mut args.fused_gradients)?;
    args.workspace = fields.workspace()?;
    args.grad_input = fields.destination("gradInput")?;
    Ok(plan.backward(&args)?)
}

/// Moments, and whether they are given, as `import` makes them; else a training pass has saved them.
fn statistics(plan: &NormPlan, field: &Field<'_>) -> Result<(bool, Bytes)> {
    let source = field.tag(&["saved", "given"])?.name();
    let is_given = source == "given";
    let size = if is_given { plan.given_statistics_size() } else { plan.statistics_size() };
    Ok((is_given, field.needed_bytes(source, size, Operand::Moments)?))
}

fn fused(fields: &Field<'_>, into: &mut FusedArgs<WebBuffer>) -> Result<()> {
    fields.object_of_tensors(
        "fused",
        &mut [
            ("residual", &mut into.residual),
            ("gate", &mut into.gate),
            ("z", &mut into.z),
            ("prologueBias", &mut into.prologue_bias),
            ("modulationScale", &mut into.modulation_scale),
            ("modulationShift", &mut into.modulation_shift),
            ("addend", &mut into.addend),
            ("outGate", &mut into.out_gate),
            ("outResidual", &mut into.out_residual),
            ("sum", &mut into.sum),
            ("scales", &mut into.scales),
            ("staticScale", &mut into.static_scale),
            ("multiplied", &mut into.multiplied),
        ],
    )
}

fn fused_gradients(fields: &Field<'_>, into: &mut FusedGradients<WebBuffer>) -> Result<()> {
    fields.object_of_tensors(
        "fusedGradients",
        &mut [
            ("arriving", &mut into.arriving),
            ("residual", &mut into.residual),
            ("gate", &mut into.gate),
            ("z", &mut into.z),
            ("prologueBias", &mut into.prologue_bias),
            ("modulationScale", &mut into.modulation_scale),
            ("modulationShift", &mut into.modulation_shift),
            ("addend", &mut into.addend),
            ("outGate", &mut into.out_gate),
        ],
    )
}

fn running_update(plan: &NormPlan, fields: &Field<'_>) -> Answer {
    fields.only(&["saved", "mean", "variance", "batches", "momentum", "batchVariance"])?;
    let saved = fields.needed_bytes("saved", plan.statistics_size(), Operand::Moments)?;
    let mean = fields.needed_tensor("mean", Operand::RunningMean)?;
    let variance = fields.needed_tensor("variance", Operand::RunningVariance)?;
    let mut args = RunningArgs::new(saved, mean, variance);
    args.batches = fields.bytes("batches", Some(4))?;
    args.update.momentum = match fields.get("momentum") {
        None => args.update.momentum,
        Some(field) if field.value.is_object() => Momentum::AsGiven(field.tag(&["asGiven"])?.number()?),
        Some(field) if field.value.as_str() == Some("cumulative") => Momentum::Cumulative,
        Some(field) => Momentum::Weight(field.number()?),
    };
    if let Some(field) = fields.get("batchVariance") {
        args.update.variance = field.one_of(&VARIANCES)?;
    }
    Ok(plan.running_update(&args)?)
}

fn export(plan: &NormPlan, fields: &Field<'_>) -> Answer {
    fields.only(&["saved", "mean", "variance", "rstd", "deviation"])?;
    let saved = fields.needed_bytes("saved", plan.statistics_size(), Operand::Moments)?;
    let mut args = ExportArgs::new(saved);
    args.mean = fields.tensor("mean")?;
    let spreads = [("variance", Spread::Variance), ("rstd", Spread::Rstd), ("deviation", Spread::Deviation)];
    for (name, spread) in spreads {
        let Some(field) = fields.get(name) else { continue };
        if args.spread.is_some() {
            return field.wrong("one of variance, rstd, deviation");
        }
        args.spread = fields.tensor(name)?.map(|view| (spread, view));
    }
    Ok(plan.export(&args)?)
}

fn import(plan: &NormPlan, fields: &Field<'_>) -> Answer {
    fields.only(&["mean", "variance", "given"])?;
    let mean = fields.needed_tensor("mean", Operand::RunningMean)?;
    let variance = fields.needed_tensor("variance", Operand::RunningVariance)?;
    let given = fields.needed_bytes("given", plan.given_statistics_size(), Operand::Moments)?;
    Ok(plan.import(&ImportArgs::new(mean, variance, given))?)
}

fn moments(plan: &NormPlan, fields: &Field<'_>) -> Answer {
    fields.only(&["input", "records", "workspace"])?;
    let input = fields.needed_tensor("input", Operand::Input)?;
    let records = fields.needed_bytes("records", plan.statistics_size(), Operand::Records)?;
    let mut args = MomentsArgs::new(input, records);
    args.workspace = fields.workspace()?;
    Ok(plan.moments(&args)?)
}

fn merge(plan: &NormPlan, fields: &Field<'_>) -> Answer {
    fields.only(&["shards", "count", "records", "merged"])?;
    let size = plan.statistics_size();
    let count = fields.required("count")?.small()?;
    let shards = fields.needed_bytes("shards", size.saturating_mul(count.into()), Operand::Shards)?;
    let merged = fields.needed_bytes("merged", size, Operand::Records)?;
    let records =
        fields.word("records", &[("statistics", Records::Statistics), ("gradient-sums", Records::GradientSums)])?;
    Ok(plan.merge(&MergeArgs::new(shards, count, records, merged))?)
}

fn gradient_sums(plan: &NormPlan, fields: &Field<'_>) -> Answer {
    let known = ["input", "gradOutput", "saved", "sums", "scale", "gradScale", "gradBias", "workspace"];
    fields.only(&known)?;
    let size = plan.statistics_size();
    let mut args = GradientSumsArgs::new(
        fields.needed_tensor("input", Operand::Input)?,
        fields.needed_tensor("gradOutput", Operand::GradOutput)?,
        fields.needed_bytes("saved", size, Operand::Moments)?,
        fields.needed_bytes("sums", size, Operand::Sums)?,
    );
    fields.tensors(&mut [
        ("scale", &mut args.scale),
        ("gradScale", &mut args.grad_scale),
        ("gradBias", &mut args.grad_bias),
    ])?;
    args.workspace = fields.workspace()?;
    Ok(plan.gradient_sums(&args)?)
}

fn input_gradient(plan: &NormPlan, fields: &Field<'_>) -> Answer {
    fields.only(&["input", "gradOutput", "saved", "sums", "gradInput", "scale", "workspace"])?;
    let size = plan.statistics_size();
    let mut args = InputGradientArgs::new(
        fields.needed_tensor("input", Operand::Input)?,
        fields.needed_tensor("gradOutput", Operand::GradOutput)?,
        fields.needed_bytes("saved", size, Operand::Moments)?,
        fields.needed_bytes("sums", size, Operand::Sums)?,
        fields.needed_destination("gradInput", Operand::GradInput)?,
    );
    args.scale = fields.tensor("scale")?;
    args.workspace = fields.workspace()?;
    Ok(plan.input_gradient(&args)?)
}

fn adaptive_forward(plan: &AdaptivePlan, fields: &Field<'_>) -> Answer {
    fields.only(&["input", "style", "output", "saved", "workspace"])?;
    let mut args = AdaptiveArgs::new(
        fields.needed_tensor("input", Operand::Input)?,
        fields.needed_tensor("style", Operand::Style)?,
        fields.needed_destination("output", Operand::Output)?,
    );
    args.saved = fields.bytes("saved", Some(plan.statistics_size()))?;
    args.workspace = fields.workspace()?;
    Ok(plan.forward(&args)?)
}

fn adaptive_backward(plan: &AdaptivePlan, fields: &Field<'_>) -> Answer {
    fields.only(&["input", "style", "gradOutput", "saved", "gradInput", "gradStyle", "workspace"])?;
    let mut args = AdaptiveBackwardArgs::new(
        fields.needed_tensor("input", Operand::Input)?,
        fields.needed_tensor("style", Operand::Style)?,
        fields.needed_tensor("gradOutput", Operand::GradOutput)?,
        fields.needed_bytes("saved", plan.statistics_size(), Operand::Moments)?,
    );
    args.grad_style = fields.tensor("gradStyle")?;
    args.workspace = fields.workspace()?;
    args.grad_input = fields.destination("gradInput")?;
    Ok(plan.backward(&args)?)
}

fn spectral_forward(plan: &SpectralPlan, fields: &Field<'_>) -> Answer {
    fields.only(&["weight", "output", "sigma", "u", "v", "iterations", "workspace"])?;
    let mut args = SpectralArgs::new(
        fields.needed_tensor("weight", Operand::Weight)?,
        fields.needed_destination("output", Operand::Output)?,
        fields.needed_tensor("sigma", Operand::Sigma)?,
        fields.workspace()?.ok_or_else(|| missing(Operand::Workspace))?,
    );
    args.vectors = vectors(fields)?;
    // 0 as in evaluation: the vectors stay
    args.iterations = match fields.get("iterations").map_or(Ok(0), |field| field.small())? {
        0 => PowerIterations::Frozen,
        count => PowerIterations::Count(count),
    };
    Ok(plan.forward(&args)?)
}

fn spectral_backward(plan: &SpectralPlan, fields: &Field<'_>) -> Answer {
    fields.only(&["weight", "gradOutput", "gradWeight", "sigma", "u", "v", "workspace"])?;
    let mut args = SpectralBackwardArgs::new(
        fields.needed_tensor("weight", Operand::Weight)?,
        fields.needed_tensor("gradOutput", Operand::GradOutput)?,
        fields.needed_tensor("gradWeight", Operand::GradWeight)?,
        fields.needed_tensor("sigma", Operand::Sigma)?,
        fields.workspace()?.ok_or_else(|| missing(Operand::Workspace))?,
    );
    args.vectors = vectors(fields)?;
    Ok(plan.backward(&args)?)
}

/// Both vectors, or none.
fn vectors(fields: &Field<'_>) -> Result<Option<(Tensor, Tensor)>> {
    match (fields.tensor("u")?, fields.tensor("v")?) {
        (Some(u), Some(v)) => Ok(Some((u, v))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(missing(Operand::V)),
        (None, Some(_)) => Err(missing(Operand::U)),
    }
}
