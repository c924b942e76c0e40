//! Norms from JSON, planned.

use std::ops::Range;

use serde_json::Value;
use wgpu_norm::*;

use crate::args;
use crate::error::{ArgumentError, Result};
use crate::field::{Arena, Field};
use crate::fusion;
use crate::object;
use crate::views::{ELEMENTS, WebBuffer};

/// A planned norm of any kind.
pub(crate) enum Planned {
    Norm(Box<NormPlan>),
    Adaptive(Box<AdaptivePlan>),
    Spectral(Box<SpectralPlan>),
}

/// What descriptors of all kinds in the library's table have.
const COMMON: [&str; 10] =
    ["kind", "label", "shape", "format", "eps", "affine", "affineAxes", "singleElement", "types", "fusion"];

/// Every kind, and the fields that only that kind has.
const KINDS: [(&str, &[&str]); 10] = [
    ("batch", &[]),
    ("instance", &[]),
    ("group", &["groups"]),
    ("layer", &["normalizedShape", "axes"]),
    ("rms", &["normalizedShape", "axes"]),
    ("lp", &["p", "axes"]),
    ("weight", &["dim"]),
    ("mvn", &["axes"]),
    ("adain", &["styleShape", "styleEps", "variance"]),
    ("spectral", &["dim", "order"]),
];

/// What an adaptive and a spectral norm have of the common fields.
const COMMON_OF_ADAIN: [&str; 7] = ["kind", "label", "shape", "format", "eps", "singleElement", "types"];
const COMMON_OF_SPECTRAL: [&str; 5] = ["kind", "label", "shape", "eps", "types"];

const SINGLE_ELEMENT: [(&str, SingleElement); 2] = [("refuse", SingleElement::Refuse), ("allow", SingleElement::Allow)];
const FORMATS: [(&str, MemoryFormat); 2] =
    [("channels-first", MemoryFormat::ChannelsFirst), ("channels-last", MemoryFormat::ChannelsLast)];

/// A descriptor that was read.
pub enum Described<'a> {
    /// Of a norm of the library's table.
    Norm(NormDescriptor<'a>),
    /// Of an adaptive instance norm.
    Adaptive(AdaptiveDescriptor<'a>),
    /// Of a spectral norm.
    Spectral(SpectralDescriptor<'a>),
}

/// Reads a descriptor, and goes on with it: it borrows from what was read.
pub(crate) fn read<R>(field: &Field<'_>, then: impl FnOnce(Described<'_>) -> Result<R>) -> Result<R> {
    if !field.value.is_object() {
        return field.wrong("an object");
    }
    let (kind, own) = KINDS[field.required("kind")?.place(&mut KINDS.iter().map(|(kind, _)| *kind))?];
    let common = match kind {
        "adain" => &COMMON_OF_ADAIN[..],
        "spectral" => &COMMON_OF_SPECTRAL,
        _ => &COMMON,
    };
    field.only(&[common, own].concat())?;
    let (shape, lists) = (field.required("shape")?.list()?, Arena::default());
    match kind {
        "adain" => {
            let style = field.required("styleShape")?.list()?;
            then(Described::Adaptive(adaptive(field, &shape, &style)?))
        }
        "spectral" => then(Described::Spectral(spectral(field, &shape)?)),
        _ => then(Described::Norm(norm(kind, field, &shape, &lists)?)),
    }
}

impl Planned {
    /// Plans what a descriptor says.
    pub(crate) fn of(planner: &Planner, field: &Field<'_>) -> Result<Self> {
        read(field, |described| {
            Ok(match described {
                Described::Norm(d) => Self::Norm(Box::new(planner.plan(&d)?)),
                Described::Adaptive(d) => Self::Adaptive(Box::new(planner.plan_adaptive(&d)?)),
                Described::Spectral(d) => Self::Spectral(Box::new(planner.plan_spectral(&d)?)),
            })
        })
    }

    /// What the plan says of itself.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Norm(plan) => norm_to_json(plan),
            Self::Adaptive(plan) => {
                let mut json = norm_to_json(plan.content());
                json["workspaceSize"] = plan.workspace_size().into();
                json["backwardWorkspaceSize"] = plan.backward_workspace_size().into();
                json["styleLength"] = plan.style_len().into();
                json
            }
            Self::Spectral(plan) => object(vec![
                ("kind", "spectral".into()),
                ("length", plan.len().into()),
                ("rows", plan.rows().into()),
                ("columns", plan.columns().into()),
                ("workspaceSize", plan.workspace_size().into()),
                ("backwardWorkspaceSize", plan.workspace_size().into()),
            ]),
        }
    }

    /// An operation on views of buffers.
    pub(crate) fn recipe(&self, operation: &str, args: &Field<'_>) -> Result<Recipe<WebBuffer>> {
        match self {
            Self::Norm(plan) => args::norm(plan, operation, args),
            Self::Adaptive(plan) => args::adaptive(plan, operation, args),
            Self::Spectral(plan) => args::spectral(plan, operation, args),
        }
    }
}

fn norm_to_json(plan: &NormPlan) -> Value {
    object(vec![
        ("kind", plan.kind().into()),
        ("length", plan.len().into()),
        ("affineLength", plan.affine_len().into()),
        ("segmentCount", plan.segment_count().into()),
        ("segmentLength", plan.segment_len().into()),
        ("givenSegmentCount", plan.given_segment_count().into()),
        ("statisticsSize", plan.statistics_size().into()),
        ("givenStatisticsSize", plan.given_statistics_size().into()),
        ("workspaceSize", plan.workspace_size().into()),
        ("backwardWorkspaceSize", plan.backward_workspace_size().into()),
        ("momentsWorkspaceSize", plan.moments_workspace_size().into()),
        ("crossesSamples", plan.crosses_samples().into()),
        ("schedule", plan.schedule().to_string().into()),
        ("backwardSchedule", plan.backward_schedule().to_string().into()),
    ])
}

fn norm<'a>(kind: &str, field: &Field<'_>, shape: &'a [u64], lists: &'a Arena) -> Result<NormDescriptor<'a>> {
    let kind = match kind {
        "batch" => NormKind::Batch,
        "instance" => NormKind::Instance,
        "group" => NormKind::Group { groups: field.required("groups")?.whole()? },
        "layer" => NormKind::Layer { axes: trailing_or_range(field, shape)? },
        "rms" => NormKind::Rms { axes: trailing_or_range(field, shape)? },
        "lp" => NormKind::LpNormalize {
            p: field.get("p").map_or(Ok(2.0), |field| field.number())?,
            axes: range(&field.required("axes")?)?,
        },
        // `null` is one norm for the whole tensor
        "weight" => NormKind::Weight {
            dim: match field.nullable("dim") {
                None => Some(0),
                Some(field) if field.value.is_null() => None,
                Some(field) => Some(axis(&field)?),
            },
        },
        _ => NormKind::MeanVariance { axes: field.required("axes")?.axes(lists)? },
    };
    let mut d = NormDescriptor::new(kind, shape);
    d.format = field.word("format", &FORMATS)?;
    d.eps = epsilon(field, d.eps)?;
    if let Some(field) = field.get("affine") {
        d.affine = field.one_of(&[
            ("none", Affine::None),
            ("scale", Affine::Scale),
            ("bias", Affine::Bias),
            ("scale-and-bias", Affine::ScaleAndBias),
        ])?;
    }
    d.affine_axes = match field.get("affineAxes") {
        Some(field) if field.value.is_array() => AffineAxes::Axes(field.axes(lists)?),
        Some(field) => field.one_of(&[("of-kind", AffineAxes::OfKind), ("groups", AffineAxes::Groups)])?,
        None => AffineAxes::OfKind,
    };
    d.single_element = field.word("singleElement", &SINGLE_ELEMENT)?;
    d.types = types(field, Types::default())?;
    if let Some(field) = field.get("fusion") {
        d.fusion = fusion::read(&field, lists)?;
    }
    Ok(d)
}

fn adaptive<'a>(field: &Field<'_>, shape: &'a [u64], style: &'a [u64]) -> Result<AdaptiveDescriptor<'a>> {
    let mut d = AdaptiveDescriptor::new(shape, style);
    d.format = field.word("format", &FORMATS)?;
    d.eps = epsilon(field, d.eps)?;
    d.style_eps = field.word("styleEps", &[("as-content", StyleEpsilon::AsContent), ("none", StyleEpsilon::None)])?;
    d.variance = field.word("variance", &VARIANCES)?;
    d.single_element = field.word("singleElement", &SINGLE_ELEMENT)?;
    d.types = types(field, d.types)?;
    Ok(d)
}

fn spectral<'a>(field: &Field<'_>, shape: &'a [u64]) -> Result<SpectralDescriptor<'a>> {
    let mut d = SpectralDescriptor::new(shape);
    if let Some(field) = field.get("dim") {
        d.dim = axis(&field)?;
    }
    if let Some(field) = field.get("eps") {
        d.eps = field.number()?;
    }
    d.order = field.word("order", &[("u-then-v", PowerOrder::UThenV), ("v-then-u", PowerOrder::VThenU)])?;
    d.types = types(field, d.types)?;
    Ok(d)
}

/// Divisors of variances.
pub(crate) const VARIANCES: [(&str, Variance); 2] = [("biased", Variance::Biased), ("unbiased", Variance::Unbiased)];

/// The end of the shape, or neighbouring axes.
fn trailing_or_range(field: &Field<'_>, shape: &[u64]) -> Result<Range<usize>> {
    match (field.get("normalizedShape"), field.get("axes")) {
        (Some(field), None) => Ok(normalized_axes(shape, &field.list()?)?),
        (None, Some(field)) => range(&field),
        (Some(_), Some(field)) => field.wrong("one of normalizedShape and axes"),
        (None, None) => Err(ArgumentError::Missing { path: "descriptor.normalizedShape (or axes)".to_owned() }.into()),
    }
}

/// Neighbouring axes in ascending order.
fn range(field: &Field<'_>) -> Result<Range<usize>> {
    let axes = field.list()?;
    let first = axes.first().copied().unwrap_or(0);
    if axes.iter().zip(first..).any(|(&axis, next)| axis != next) {
        return field.wrong("a list of neighbouring axes in ascending order");
    }
    let first = usize::try_from(first).unwrap_or(usize::MAX);
    Ok(first..first.saturating_add(axes.len()))
}

fn axis(field: &Field<'_>) -> Result<usize> {
    Ok(usize::try_from(field.whole()?).unwrap_or(usize::MAX))
}

/// A number stands where the kind has its eps; the machine epsilon gives way to one inside the root.
fn epsilon(field: &Field<'_>, default: Epsilon) -> Result<Epsilon> {
    let Some(field) = field.get("eps") else { return Ok(default) };
    if field.value.is_object() {
        let place = field.tag(&["insideRoot", "addedToDeviation", "minimum", "asGiven"])?;
        let eps = place.number()?;
        return Ok(match place.name() {
            "insideRoot" => Epsilon::InsideRoot(eps),
            "addedToDeviation" => Epsilon::AddedToDeviation(eps),
            "minimum" => Epsilon::Minimum(eps),
            _ => Epsilon::AsGiven(eps),
        });
    }
    if field.value.as_str() == Some("machine") {
        return Ok(Epsilon::Machine);
    }
    let eps = field.number()?;
    Ok(match default {
        Epsilon::Minimum(_) => Epsilon::Minimum(eps),
        Epsilon::AddedToDeviation(_) => Epsilon::AddedToDeviation(eps),
        _ => Epsilon::InsideRoot(eps),
    })
}

/// One type for all, or the type of each.
fn types(field: &Field<'_>, default: Types) -> Result<Types> {
    let Some(field) = field.get("types") else { return Ok(default) };
    if field.value.is_string() {
        return Ok(Types::all(field.one_of(&ELEMENTS)?));
    }
    let known = ["input", "output", "gradOutput", "gradInput", "scale", "bias", "gradScale", "gradBias"];
    field.only(&known)?;
    let mut types = default;
    let places = [
        &mut types.input,
        &mut types.output,
        &mut types.grad_output,
        &mut types.grad_input,
        &mut types.scale,
        &mut types.bias,
        &mut types.grad_scale,
        &mut types.grad_bias,
    ];
    for (name, place) in known.into_iter().zip(places) {
        if let Some(field) = field.get(name) {
            *place = field.one_of(&ELEMENTS)?;
        }
    }
    Ok(types)
}
