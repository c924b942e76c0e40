//! Recipes that plans of a broad table of norms make, for tests without a GPU.

mod fused;

use crate::descriptor::*;
use crate::element::{Element, Types};
use crate::error::{BindError, PlanError};
use crate::facts::{DeviceFacts, DeviceKind};
use crate::moments::{Records, Spread};
use crate::norm::*;
use crate::recipe::Recipe;
use crate::view::{BufferId, BufferView, Destination, TensorView};

/// Devices that kernels are made for: WebGPU's defaults, four storage buffers, subgroups, software.
pub(crate) fn devices() -> Vec<(String, DeviceFacts)> {
    let software = DeviceFacts { kind: DeviceKind::Software, ..DeviceFacts::DEFAULT };
    let mut all = vec![
        ("default".to_owned(), DeviceFacts::DEFAULT),
        ("downlevel".to_owned(), DeviceFacts::DOWNLEVEL),
        ("software".to_owned(), software),
        ("software, subgroups of 8".to_owned(), DeviceFacts { min_subgroup: 8, ..software }),
    ];
    for min_subgroup in [4, 8, 32, 64] {
        let max_workgroup_size = if min_subgroup == 32 { 1024 } else { 256 };
        let facts = DeviceFacts { min_subgroup, max_workgroup_size, ..DeviceFacts::DEFAULT };
        all.push((format!("subgroups of {min_subgroup}"), facts));
    }
    all
}

/// Every kind, both formats, widths of every remainder by 4, long and short segments.
pub(crate) fn norms() -> Vec<NormDescriptor<'static>> {
    use MemoryFormat::{ChannelsFirst, ChannelsLast};
    let new = NormDescriptor::new;
    let mut all = Vec::new();
    let channelwise: [(&'static [u64], _, u64); 9] = [
        (&[3, 6, 7], ChannelsFirst, 2),
        (&[2, 8, 4, 4], ChannelsFirst, 4),
        (&[16, 6], ChannelsFirst, 3),
        (&[4, 32, 64], ChannelsFirst, 8),
        (&[8, 64, 56, 56], ChannelsFirst, 32),
        (&[3, 7, 6], ChannelsLast, 3),
        (&[2, 5, 3, 8], ChannelsLast, 2),
        (&[8, 56, 56, 64], ChannelsLast, 32),
        (&[2, 500, 7], ChannelsLast, 7),
    ];
    for (shape, format, groups) in channelwise {
        let mut kinds = vec![NormKind::Batch, NormKind::Group { groups }];
        kinds.extend((shape.len() > 2).then_some(NormKind::Instance));
        for kind in kinds {
            all.push(NormDescriptor { format, ..new(kind, shape) });
        }
    }
    let rows: [&'static [u64]; 13] = [
        &[5, 1],
        &[5, 2],
        &[5, 3],
        &[9, 4],
        &[5, 63],
        &[5, 64],
        &[7, 1021],
        &[4096, 1024],
        &[5, 4099],
        &[70_001, 3],
        &[2, 150_000],
        &[300, 512],
        &[1 << 17, 1024],
    ];
    for shape in rows {
        all.push(new(NormKind::Layer { axes: 1..2 }, shape));
        all.push(new(NormKind::Rms { axes: 1..2 }, shape));
        for p in [1.0, 2.0, 3.5, f32::INFINITY] {
            all.push(new(NormKind::LpNormalize { p, axes: 1..2 }, shape));
        }
    }
    for affine in [Affine::None, Affine::Scale, Affine::Bias] {
        for kind in [NormKind::Layer { axes: 1..2 }, NormKind::Rms { axes: 1..2 }] {
            all.push(NormDescriptor { affine, ..new(kind, &[5, 300]) });
        }
        all.push(NormDescriptor { affine, ..new(NormKind::Batch, &[3, 6, 7]) });
        all.push(NormDescriptor { affine, format: ChannelsLast, ..new(NormKind::Group { groups: 2 }, &[3, 7, 6]) });
    }
    all.push(new(NormKind::Layer { axes: 0..1 }, &[1_500_000]));
    all.push(new(NormKind::Layer { axes: 0..1 }, &[40, 300]));
    all.push(new(NormKind::Layer { axes: 1..2 }, &[3, 5, 7, 2]));
    all.push(new(NormKind::Layer { axes: 1..2 }, &[8, 64, 196]));
    all.push(new(NormKind::Layer { axes: 0..8 }, &[2, 1, 3, 2, 1, 2, 2, 3]));
    all.push(new(NormKind::Rms { axes: 1..2 }, &[3, 9, 4]));
    all.push(new(NormKind::MeanVariance { axes: &[0, 2, 3] }, &[3, 4, 5, 2]));
    all.push(new(NormKind::MeanVariance { axes: &[1, 2] }, &[3, 4, 5, 2]));
    for dim in [None, Some(0), Some(1)] {
        all.push(new(NormKind::Weight { dim }, &[7, 5, 3]));
        all.push(new(NormKind::Weight { dim }, &[64, 64, 9]));
    }
    let axes = |kind, shape, axes| NormDescriptor { affine_axes: AffineAxes::Axes(axes), ..new(kind, shape) };
    all.push(NormDescriptor { affine_axes: AffineAxes::Groups, ..new(NormKind::Group { groups: 3 }, &[2, 6, 5]) });
    all.push(axes(NormKind::Layer { axes: 2..3 }, &[2, 3, 5], &[0, 2]));
    all.push(axes(NormKind::Layer { axes: 2..3 }, &[8, 196, 384], &[0, 2]));
    all.push(axes(NormKind::Layer { axes: 1..3 }, &[2, 3, 5], &[]));
    all.push(axes(NormKind::Batch, &[2, 3, 5], &[0, 1, 2]));
    all.push(new(NormKind::Batch, &[0, 3, 4]));
    all.extend(typed_norms());
    all
}

const BF16: Types = Types::all(Element::Bf16);
const F16: Types = Types::tensors(Element::F16);
const MIXED: Types = Types::tensors(Element::F16).output(Element::F32).grad_input(Element::F32);

/// Of every kind a few with tensors of 16 bits: rows of whole words, rows that share them, parameters of other types.
fn typed_norms() -> Vec<NormDescriptor<'static>> {
    let of = |types, kind, shape| NormDescriptor { types, ..NormDescriptor::new(kind, shape) };
    let last = |d| NormDescriptor { format: MemoryFormat::ChannelsLast, ..d };
    let axes = |d, axes| NormDescriptor { affine_axes: AffineAxes::Axes(axes), ..d };
    vec![
        of(BF16, NormKind::Layer { axes: 1..2 }, &[5, 63]),
        of(F16, NormKind::Layer { axes: 1..2 }, &[9, 64]),
        of(MIXED, NormKind::Layer { axes: 1..2 }, &[7, 1021]),
        of(BF16, NormKind::Layer { axes: 1..2 }, &[4096, 1024]),
        of(F16, NormKind::Rms { axes: 1..2 }, &[300, 514]),
        of(BF16, NormKind::Layer { axes: 0..1 }, &[150_001]),
        of(BF16, NormKind::Batch, &[3, 6, 7]),
        of(F16, NormKind::Batch, &[8, 64, 56, 56]),
        last(of(MIXED, NormKind::Batch, &[2, 500, 7])),
        of(F16, NormKind::Instance, &[2, 8, 4, 4]),
        last(of(BF16, NormKind::Instance, &[3, 40, 5])),
        of(BF16, NormKind::Group { groups: 2 }, &[2, 6, 5]),
        last(of(F16, NormKind::Group { groups: 2 }, &[2, 9, 6])),
        axes(of(BF16, NormKind::Layer { axes: 2..3 }, &[2, 9, 33]), &[0, 2]),
        of(F16, NormKind::LpNormalize { p: 3.5, axes: 1..2 }, &[4, 37, 3]),
        of(BF16, NormKind::Weight { dim: Some(1) }, &[7, 5, 3]),
        of(MIXED, NormKind::MeanVariance { axes: &[1, 2] }, &[3, 4, 5, 2]),
        of(BF16, NormKind::Batch, &[0, 3, 4]),
    ]
}

/// Pairs of content and style.
pub(crate) fn adaptive_norms() -> Vec<AdaptiveDescriptor<'static>> {
    let new = AdaptiveDescriptor::new;
    let unbiased = AdaptiveDescriptor { variance: Variance::Unbiased, ..new(&[2, 3, 35], &[1, 3, 4]) };
    let last = AdaptiveDescriptor { format: MemoryFormat::ChannelsLast, ..new(&[2, 35, 3], &[2, 4, 3]) };
    vec![
        new(&[2, 3, 5, 7], &[2, 3, 11, 2]),
        new(&[2, 64, 56, 56], &[1, 64, 28, 28]),
        unbiased,
        last,
        new(&[0, 3, 5], &[1, 3, 4]),
        AdaptiveDescriptor { types: BF16, ..new(&[2, 3, 5, 7], &[2, 3, 11, 1]) },
        AdaptiveDescriptor { types: MIXED, ..new(&[2, 64, 56, 56], &[1, 64, 28, 28]) },
    ]
}

/// Weights, and the axis of their rows.
pub(crate) fn spectral_norms() -> Vec<SpectralDescriptor<'static>> {
    let dim = |dim, shape| SpectralDescriptor { dim, ..SpectralDescriptor::new(shape) };
    let order = SpectralDescriptor { order: PowerOrder::VThenU, ..SpectralDescriptor::new(&[40, 300]) };
    let of = |types, d| SpectralDescriptor { types, ..d };
    let mut all = vec![dim(0, &[7, 3, 5]), dim(1, &[7, 3, 5]), dim(0, &[512, 4608]), order, dim(0, &[37])];
    all.extend([of(BF16, dim(1, &[7, 3, 5])), of(MIXED, dim(0, &[40, 300])), of(F16, dim(0, &[37]))]);
    all
}

/// How operands lie in buffers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    /// Each in a buffer of its own that it fills.
    Apart,
    /// Each in a buffer with room behind it.
    Roomy,
    /// Each one element into such a buffer.
    Shifted,
    /// Rows are padded.
    Padded,
    /// The output is the input.
    Aliased,
    /// All in one buffer, at multiples of 256 bytes.
    Arena,
    /// All in one buffer, one after the other.
    Dense,
}

impl Place {
    pub(crate) const ALL: [Self; 7] =
        [Self::Apart, Self::Roomy, Self::Shifted, Self::Padded, Self::Aliased, Self::Arena, Self::Dense];
}

/// Makes views of buffers that nobody has.
pub(crate) struct Buffers {
    place: Place,
    row: u64,
    next: u64,
    count: u32,
}

/// Bytes of an arena.
const ARENA: u64 = 1 << 40;

impl Buffers {
    pub(crate) fn new(place: Place, row: u64) -> Self {
        Self { place, row: row.max(1), next: 0, count: 0 }
    }

    fn range(&mut self, bytes: u64, align: u64) -> (BufferId, u64) {
        self.count += 1;
        let id = self.count;
        // kernels read whole words
        let words = bytes.next_multiple_of(4);
        match self.place {
            Place::Apart => (BufferId { id, size: words.max(4) }, 0),
            Place::Roomy | Place::Padded | Place::Aliased => (BufferId { id, size: words + 256 }, 0),
            Place::Shifted => (BufferId { id, size: words + 512 }, align),
            Place::Arena | Place::Dense => {
                let unit = if self.place == Place::Arena { 256 } else { align };
                let at = self.next.next_multiple_of(unit);
                self.next = at + bytes;
                (BufferId { id: 0, size: ARENA }, at)
            }
        }
    }

    /// A list of elements.
    pub(crate) fn list(&mut self, element: Element, len: u64) -> TensorView<BufferId> {
        let (buffer, offset) = self.range(element.bytes() * len, element.bytes());
        TensorView::new(buffer, offset, len).of(element)
    }

    /// A tensor in rows.
    pub(crate) fn tensor(&mut self, element: Element, len: u64) -> TensorView<BufferId> {
        if self.place != Place::Padded {
            return self.list(element, len);
        }
        let (rows, stride) = (len / self.row, self.row + 3);
        let (buffer, offset) = self.range(element.bytes() * rows * stride, element.bytes());
        TensorView::new(buffer, offset, len).with_row_stride(stride).of(element)
    }

    /// Two that are written must not share a word.
    fn end_word(&mut self) {
        self.next = self.next.next_multiple_of(4);
    }

    /// A list that is written.
    fn written(&mut self, element: Element, len: u64) -> TensorView<BufferId> {
        self.end_word();
        self.list(element, len)
    }

    /// Bytes.
    pub(crate) fn bytes(&mut self, size: u64) -> BufferView<BufferId> {
        let (buffer, offset) = self.range(size, 16);
        BufferView::new(buffer, offset, size)
    }

    /// Where the result of a tensor goes: over it where they have one type.
    fn output(&mut self, element: Element, from: Element, len: u64) -> Destination<BufferId> {
        if self.place == Place::Aliased && element == from {
            return Destination::InPlace;
        }
        self.end_word();
        self.tensor(element, len).into()
    }

    fn workspace(&mut self, size: u64) -> Option<BufferView<BufferId>> {
        (size > 0).then(|| self.bytes(size))
    }
}

type Visit<'a> = dyn FnMut(&str, Recipe<BufferId>) + 'a;

/// Takes a recipe, or what a device may refuse: more bindings or longer ones than it has.
fn visit(name: &str, recipe: Result<Recipe<BufferId>, BindError>, to: &mut Visit<'_>) {
    match recipe {
        Ok(recipe) => to(name, recipe),
        Err(BindError::Limit { .. } | BindError::SingleElement { .. }) => {}
        Err(error) => panic!("{name}: {error}"),
    }
}

/// Recipes of forward and training.
fn forward(name: &str, d: &NormDescriptor<'_>, plan: &NormPlan, place: Place, to: &mut Visit<'_>) {
    let new = || Buffers::new(place, d.shape.last().copied().unwrap_or(1));
    let (n, affine, types) = (plan.len(), plan.affine_len(), d.types);
    let mut b = new();
    let args = ForwardArgs {
        scale: d.affine.has_scale().then(|| b.list(types.scale, affine)),
        bias: d.affine.has_bias().then(|| b.list(types.bias, affine)),
        workspace: b.workspace(plan.workspace_size()),
        ..ForwardArgs::new(b.tensor(types.input, n), b.output(types.output, types.input, n))
    };
    visit(name, plan.forward(&args), to);
    let mut b = new();
    let args = TrainingArgs {
        scale: d.affine.has_scale().then(|| b.list(types.scale, affine)),
        bias: d.affine.has_bias().then(|| b.list(types.bias, affine)),
        workspace: b.workspace(plan.workspace_size()),
        ..TrainingArgs::new(
            b.tensor(types.input, n),
            b.output(types.output, types.input, n),
            b.bytes(plan.statistics_size()),
        )
    };
    visit(name, plan.training(&args), to);
}

/// Recipes of backward: all gradients, and each by itself.
fn backward(name: &str, d: &NormDescriptor<'_>, plan: &NormPlan, place: Place, to: &mut Visit<'_>) {
    let (n, affine, types) = (plan.len(), plan.affine_len(), d.types);
    let (scale, bias) = (d.affine.has_scale(), d.affine.has_bias());
    for given in [false, true] {
        if given && plan.given_segment_count() == 0 {
            continue;
        }
        for wanted in
            [[true, true, true], [true, false, false], [false, true, true], [false, true, false], [false, false, true]]
        {
            let wanted = [wanted[0], wanted[1] && scale, wanted[2] && bias];
            if wanted == [false; 3] {
                continue;
            }
            let mut b = Buffers::new(place, d.shape.last().copied().unwrap_or(1));
            let statistics = if given {
                BackwardStatistics::Given(b.bytes(plan.given_statistics_size()))
            } else {
                BackwardStatistics::Saved(b.bytes(plan.statistics_size()))
            };
            let args = BackwardArgs {
                scale: scale.then(|| b.list(types.scale, affine)),
                grad_input: wanted[0].then(|| b.output(types.grad_input, types.grad_output, n)),
                grad_scale: wanted[1].then(|| b.written(types.grad_scale, affine)),
                grad_bias: wanted[2].then(|| b.written(types.grad_bias, affine)),
                workspace: b.workspace(plan.backward_workspace_size()),
                ..BackwardArgs::new(b.tensor(types.input, n), b.tensor(types.grad_output, n), statistics)
            };
            visit(name, plan.backward(&args), to);
        }
    }
}

/// Recipes of stages and of statistics.
fn stages(name: &str, d: &NormDescriptor<'_>, plan: &NormPlan, place: Place, to: &mut Visit<'_>) {
    let new = || Buffers::new(place, d.shape.last().copied().unwrap_or(1));
    let (n, affine, size, types) = (plan.len(), plan.affine_len(), plan.statistics_size(), d.types);
    let (scale, bias) = (d.affine.has_scale(), d.affine.has_bias());
    let mut b = new();
    let args = MomentsArgs {
        workspace: b.workspace(plan.moments_workspace_size()),
        ..MomentsArgs::new(b.tensor(types.input, n), b.bytes(size))
    };
    visit(name, plan.moments(&args), to);
    for records in [Records::Statistics, Records::GradientSums] {
        let mut b = new();
        visit(name, plan.merge(&MergeArgs::new(b.bytes(3 * size), 3, records, b.bytes(size))), to);
    }
    for spread in [Spread::Variance, Spread::Rstd, Spread::Deviation] {
        let (mut b, segments) = (new(), plan.segment_count());
        let args = ExportArgs::new(b.bytes(size));
        let args = args.mean(b.written(types.output, segments)).spread(spread, b.written(types.scale, segments));
        visit(name, plan.export(&args), to);
    }
    let mut b = new();
    let args = GradientSumsArgs {
        scale: scale.then(|| b.list(types.scale, affine)),
        grad_scale: scale.then(|| b.written(types.grad_scale, affine)),
        grad_bias: bias.then(|| b.written(types.grad_bias, affine)),
        workspace: b.workspace(plan.backward_workspace_size()),
        ..GradientSumsArgs::new(b.tensor(types.input, n), b.tensor(types.grad_output, n), b.bytes(size), b.bytes(size))
    };
    visit(name, plan.gradient_sums(&args), to);
    let mut b = new();
    let args = InputGradientArgs {
        scale: scale.then(|| b.list(types.scale, affine)),
        workspace: b.workspace(plan.backward_workspace_size()),
        ..InputGradientArgs::new(
            b.tensor(types.input, n),
            b.tensor(types.grad_output, n),
            b.bytes(size),
            b.bytes(size),
            b.output(types.grad_input, types.grad_output, n),
        )
    };
    visit(name, plan.input_gradient(&args), to);
    let mut b = new();
    let saved = ForwardArgs {
        scale: scale.then(|| b.list(types.scale, affine)),
        bias: bias.then(|| b.list(types.bias, affine)),
        statistics: StatisticsSource::Saved(b.bytes(size)),
        ..ForwardArgs::new(b.tensor(types.input, n), b.output(types.output, types.input, n))
    };
    visit(name, plan.forward(&saved), to);
    let channels = plan.given_segment_count();
    if channels == 0 {
        return;
    }
    let mut b = new();
    let given = ForwardArgs {
        scale: scale.then(|| b.list(types.scale, affine)),
        bias: bias.then(|| b.list(types.bias, affine)),
        statistics: StatisticsSource::Given(b.bytes(plan.given_statistics_size())),
        ..ForwardArgs::new(b.tensor(types.input, n), b.output(types.output, types.input, n))
    };
    visit(name, plan.forward(&given), to);
    let mut b = new();
    let import = ImportArgs::new(
        b.list(types.input, channels),
        b.list(types.bias, channels),
        b.bytes(plan.given_statistics_size()),
    );
    visit(name, plan.import(&import), to);
    for momentum in [Momentum::Weight(0.1), Momentum::Cumulative] {
        let mut b = new();
        let args = RunningArgs::new(b.bytes(size), b.list(Element::F32, channels), b.list(Element::F32, channels));
        let args = args.batches(b.bytes(4)).update(RunningUpdate { momentum, variance: Variance::Unbiased });
        visit(name, plan.running_update(&args), to);
    }
}

/// Recipes of an adaptive norm.
fn adaptive(name: &str, d: &AdaptiveDescriptor<'_>, plan: &AdaptivePlan, place: Place, to: &mut Visit<'_>) {
    let new = || Buffers::new(place, d.shape.last().copied().unwrap_or(1));
    let mut b = new();
    let (n, size, types) = (plan.content().len(), plan.statistics_size(), d.types);
    // rows of the style have another length
    let style = |b: &mut Buffers| b.list(types.input, plan.style_len());
    let args = AdaptiveArgs {
        saved: Some(b.bytes(size)),
        workspace: b.workspace(plan.workspace_size()),
        ..AdaptiveArgs::new(b.tensor(types.input, n), style(&mut b), b.output(types.output, types.input, n))
    };
    visit(name, plan.forward(&args), to);
    let mut b = new();
    let args = AdaptiveBackwardArgs {
        grad_input: Some(b.output(types.grad_input, types.grad_output, n)),
        grad_style: Some(b.written(types.grad_input, plan.style_len())),
        workspace: b.workspace(plan.backward_workspace_size()),
        ..AdaptiveBackwardArgs::new(
            b.tensor(types.input, n),
            style(&mut b),
            b.tensor(types.grad_output, n),
            b.bytes(size),
        )
    };
    visit(name, plan.backward(&args), to);
}

/// Recipes of a spectral norm.
fn spectral(name: &str, d: &SpectralDescriptor<'_>, plan: &SpectralPlan, place: Place, to: &mut Visit<'_>) {
    let (n, types) = (plan.len(), d.types);
    let list = |b: &mut Buffers, len| b.written(Element::F32, len);
    let vectors = |b: &mut Buffers| (plan.rows() > 0).then(|| (list(b, plan.rows()), list(b, plan.columns())));
    for iterations in [PowerIterations::Count(2), PowerIterations::Frozen] {
        let mut b = Buffers::new(place, n);
        let (weight, output) = (b.tensor(types.input, n), b.output(types.output, types.input, n));
        let new = SpectralArgs::new(weight, output, list(&mut b, 1), b.bytes(plan.workspace_size()));
        visit(name, plan.forward(&SpectralArgs { vectors: vectors(&mut b), iterations, ..new }), to);
    }
    let mut b = Buffers::new(place, n);
    let new = SpectralBackwardArgs::new(
        b.tensor(types.input, n),
        b.tensor(types.grad_output, n),
        b.tensor(types.grad_input, n),
        list(&mut b, 1),
        b.bytes(plan.workspace_size()),
    );
    visit(name, plan.backward(&SpectralBackwardArgs { vectors: vectors(&mut b), ..new }), to);
}

/// Every recipe of one norm: every place of its operands by the schedules of choice, two places by all others.
pub(crate) fn recipes_of(planner: &Planner, d: &NormDescriptor<'_>, to: &mut Visit<'_>) -> Result<(), PlanError> {
    let d = &NormDescriptor { single_element: SingleElement::Allow, ..d.clone() };
    let chosen = planner.plan(d)?;
    let name = |place, how: &str| {
        format!("{:?} {:?} {:?} {:?} {:?} {place:?} {how}", d.kind, d.shape, d.format, d.affine, d.types)
    };
    for place in Place::ALL {
        forward(&name(place, "forward"), d, &chosen, place, to);
        backward(&name(place, "backward"), d, &chosen, place, to);
        stages(&name(place, "stages"), d, &chosen, place, to);
    }
    for place in [Place::Roomy, Place::Shifted] {
        for schedule in planner.schedules(d)? {
            let plan = planner.plan_with(d, schedule)?.expect("its own schedules");
            forward(&name(place, &schedule.to_string()), d, &plan, place, to);
        }
        for schedule in chosen.backward_schedules() {
            let plan = chosen.with_backward_schedule(schedule).expect("its own schedules");
            backward(&name(place, &schedule.to_string()), d, &plan, place, to);
        }
    }
    Ok(())
}

/// Every recipe of the whole table on one device.
pub(crate) fn recipes(planner: &Planner, to: &mut Visit<'_>) {
    for d in norms() {
        recipes_of(planner, &d, to).unwrap_or_else(|error| panic!("{:?} {:?}: {error}", d.kind, d.shape));
    }
    for d in fused::norms() {
        fused::recipes_of(planner, &d, to);
    }
    for place in Place::ALL {
        for d in adaptive_norms() {
            let plan = planner.plan_adaptive(&d).expect("a plan");
            adaptive(&format!("adaptive {:?} by {:?} {place:?}", d.shape, d.style_shape), &d, &plan, place, to);
        }
        for d in spectral_norms() {
            let plan = planner.plan_spectral(&d).expect("a plan");
            spectral(&format!("spectral {:?} {} {place:?}", d.shape, d.dim), &d, &plan, place, to);
        }
    }
}
