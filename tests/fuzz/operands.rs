//! Views of buffers that nobody has: mostly as a plan needs them, and now and then not.

use super::one;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::ops::Range;
use wgpu_norm::*;

type Tensor = TensorView<BufferId>;
type Bytes = BufferView<BufferId>;
type Made = Result<Recipe<BufferId>, BindError>;

/// Where views are put: each into a buffer of its own, or one after the other into few.
pub struct Operands {
    rng: Rng,
    /// Buffers that are filled one after the other; 0: none.
    arenas: u64,
    /// Sizes of buffers, or where the next view goes in an arena.
    sizes: Vec<u64>,
    hulls: BTreeMap<u32, Range<u64>>,
    /// Rows of whole tensors, and how far they are apart.
    rows: (u64, u64),
    exact: bool,
}

/// No buffer of a device is larger.
const ARENA: u64 = 1 << 30;

impl Operands {
    pub fn new(mut rng: Rng) -> Self {
        let arenas = one(&mut rng, &[0, 0, 1, 2, 3]);
        let sizes = vec![0; arenas as usize];
        let exact = rng.u32(..4) > 0;
        Self { rng, arenas, sizes, hulls: BTreeMap::new(), rows: (1, 1), exact }
    }

    /// The bytes between the first and the last that a view of a buffer has.
    pub fn hull(&self, id: u32) -> Option<Range<u64>> {
        self.hulls.get(&id).cloned()
    }

    fn now_and_then(&mut self) -> bool {
        !self.exact && self.rng.u32(..25) == 0
    }

    /// A place for so many bytes.
    fn place(&mut self, bytes: u64, align: u64) -> (BufferId, u64) {
        let bytes = bytes.min(64 * ARENA);
        let (id, offset, size) = match self.arenas {
            0 => {
                let offset = one(&mut self.rng, &[0, 0, 0, align, 256, 4096 + align]);
                let end = (offset + bytes).min(ARENA).next_multiple_of(4).max(16);
                self.sizes.push(end);
                (self.sizes.len() - 1, offset, end)
            }
            arenas => {
                let at = self.rng.u64(..arenas) as usize;
                let gap = one(&mut self.rng, &[0, 0, align, 4, 256]);
                let offset = (self.sizes[at] + gap).next_multiple_of(align);
                self.sizes[at] = offset + bytes;
                (at, offset, 4 * ARENA)
            }
        };
        let hull = self.hulls.entry(id as u32).or_insert(offset..offset);
        *hull = hull.start.min(offset)..hull.end.max(offset + bytes);
        let missing = if self.arenas == 0 && self.now_and_then() { one(&mut self.rng, &[4, 16, 1 << 20]) } else { 0 };
        (BufferId { id: id as u32, size: size.saturating_sub(missing) }, offset)
    }

    fn bytes(&mut self, size: u64) -> Bytes {
        let (buffer, offset) = self.place(size, 16);
        let size = if self.now_and_then() { size.saturating_add(one(&mut self.rng, &[4, 16])) } else { size };
        let offset = if self.now_and_then() { one(&mut self.rng, &[4, 2, u64::MAX - 8]) } else { offset };
        if offset < ARENA {
            let hull = self.hulls.entry(buffer.id).or_insert(offset..offset);
            *hull = hull.start.min(offset)..hull.end.max(offset.saturating_add(size));
        }
        BufferView::new(buffer, offset, size)
    }

    /// A list without padding.
    fn list(&mut self, element: Element, len: u64) -> Tensor {
        let bytes = len.saturating_mul(element.bytes());
        let (buffer, offset) = self.place(bytes, element.bytes());
        self.spoil(TensorView::new(buffer, offset, len).of(element))
    }

    /// A tensor of the norm's shape.
    fn whole(&mut self, element: Element, len: u64) -> Tensor {
        let (row, stride) = self.rows;
        if row == stride || row == 0 {
            return self.list(element, len);
        }
        let span = (len / row).saturating_sub(1).saturating_mul(stride).saturating_add(row.min(len));
        let (buffer, offset) = self.place(span.saturating_mul(element.bytes()), element.bytes());
        self.spoil(TensorView::new(buffer, offset, len).with_row_stride(stride).of(element))
    }

    /// The view, or one that is wrong.
    fn spoil(&mut self, mut view: Tensor) -> Tensor {
        if self.now_and_then() {
            match self.rng.u32(..6) {
                0 => view.offset = one(&mut self.rng, &[1, 2, 3, u64::MAX - 1]),
                1 => view.len = Some(one(&mut self.rng, &[0, 1, u64::MAX])),
                2 => view.len = None,
                3 => view.row_stride = Some(one(&mut self.rng, &[0, 1, 7, 1 << 20, u64::MAX])),
                4 => view = view.with_stride(self.rng.usize(..9), one(&mut self.rng, &[1, 64, 4096, u64::MAX])),
                _ => view.element = Some(Element::F16),
            }
            // wherever it lies now
            self.hulls.insert(view.buffer.id, 0..u64::MAX - 8);
        }
        view
    }

    fn workspace(&mut self, size: u64) -> Option<Bytes> {
        let given = size > 0 && !self.now_and_then();
        given.then(|| self.bytes(size))
    }

    fn destination(&mut self, element: Element, len: u64) -> Destination<BufferId> {
        if self.rng.u32(..6) == 0 { Destination::InPlace } else { self.whole(element, len).into() }
    }

    /// Rows for the tensors of this shape.
    fn pad(&mut self, shape: &[u64]) {
        let row = shape.last().copied().unwrap_or(1);
        let more = one(&mut self.rng, &[0, 0, 0, 1, 2, 3, 5, 64]);
        self.rows = (row, row.saturating_add(more));
    }

    /// Every operation of a norm.
    pub fn norm(&mut self, plan: &NormPlan, d: &NormDescriptor<'_>) -> Made {
        self.pad(d.shape);
        let (n, parameters, types) = (plan.len(), plan.affine_len(), plan.types());
        let records = plan.statistics_size();
        let scale = d.affine.has_scale().then(|| self.list(types.scale, parameters));
        let bias = d.affine.has_bias().then(|| self.list(types.bias, parameters));
        let operation = self.rng.u32(..14);
        match operation {
            0..3 => {
                let source = match (self.rng.u32(..4), plan.given_segment_count()) {
                    (0, 1..) => StatisticsSource::Given(self.bytes(plan.given_statistics_size())),
                    (1, _) => StatisticsSource::Saved(self.bytes(records)),
                    _ => StatisticsSource::Input,
                };
                let (input, fused) = (self.whole(types.input, n), self.fused(d));
                let output = if d.fusion.quantization.is_some() {
                    self.bytes_of_result(n).into()
                } else {
                    self.destination(types.output, n)
                };
                let args = ForwardArgs::new(input, output).scale(scale).bias(bias).statistics(source).fused(fused);
                plan.forward(&args.workspace(self.workspace(plan.workspace_size())))
            }
            3..6 => {
                let (input, fused) = (self.whole(types.input, n), self.fused(d));
                let output = if d.fusion.quantization.is_some() {
                    self.bytes_of_result(n).into()
                } else {
                    self.destination(types.output, n)
                };
                let args = TrainingArgs::new(input, output, self.bytes(records)).scale(scale).bias(bias).fused(fused);
                plan.training(&args.workspace(self.workspace(plan.workspace_size())))
            }
            6..10 => self.backward(plan, d, (scale, bias)),
            10 => {
                let spread = one(&mut self.rng, &[Spread::Variance, Spread::Rstd]);
                let (statistics, mean) = (self.bytes(records), self.list(types.scale, plan.segment_count()));
                let list = self.list(types.bias, plan.segment_count());
                plan.export(&ExportArgs::new(statistics).mean(mean).spread(spread, list))
            }
            11 => {
                let channels = plan.given_segment_count();
                let [mean, variance] = [Element::F32; 2].map(|element| self.list(element, channels));
                if self.rng.bool() {
                    let statistics = self.bytes(plan.given_statistics_size());
                    return plan.import(&ImportArgs::new(mean, variance, statistics));
                }
                let momentum =
                    one(&mut self.rng, &[Momentum::Cumulative, Momentum::Weight(0.1), Momentum::Weight(2.0)]);
                let update = RunningUpdate { momentum, ..RunningUpdate::default() };
                let counter = if self.rng.bool() { Some(self.bytes(4)) } else { None };
                let args = RunningArgs::new(self.bytes(records), mean, variance).update(update);
                plan.running_update(&args.batches(counter))
            }
            12 => {
                let count = one(&mut self.rng, &[0, 1, 2, 7, u32::MAX]);
                let shards = self.bytes(records.saturating_mul(count.into()));
                let merged = self.bytes(records);
                if self.rng.bool() {
                    let kind = one(&mut self.rng, &[Records::Statistics, Records::GradientSums]);
                    return plan.merge(&MergeArgs::new(shards, count, kind, merged));
                }
                let input = self.whole(types.input, n);
                plan.moments(&MomentsArgs::new(input, merged).workspace(self.workspace(plan.moments_workspace_size())))
            }
            _ => {
                let (input, dy) = (self.whole(types.input, n), self.whole(types.grad_output, n));
                let (statistics, sums) = (self.bytes(records), self.bytes(records));
                let workspace = self.workspace(plan.backward_workspace_size());
                if self.rng.bool() {
                    let to = self.destination(types.grad_input, n);
                    let args = InputGradientArgs::new(input, dy, statistics, sums, to).scale(scale);
                    return plan.input_gradient(&args.workspace(workspace));
                }
                let grad_scale = scale.map(|_| self.list(types.grad_scale, parameters));
                let args = GradientSumsArgs::new(input, dy, statistics, sums).scale(scale).grad_scale(grad_scale);
                plan.gradient_sums(&args.workspace(workspace))
            }
        }
    }

    /// A place for a byte an element.
    fn bytes_of_result(&mut self, n: u64) -> Tensor {
        let (buffer, offset) = self.place(n.next_multiple_of(4), 4);
        TensorView::at(buffer, offset)
    }

    fn backward(
        &mut self,
        plan: &NormPlan,
        d: &NormDescriptor<'_>,
        (scale, bias): (Option<Tensor>, Option<Tensor>),
    ) -> Made {
        let (n, parameters, types) = (plan.len(), plan.affine_len(), plan.types());
        let statistics = match (self.rng.u32(..4), plan.given_segment_count()) {
            (0, 1..) => BackwardStatistics::Given(self.bytes(plan.given_statistics_size())),
            _ => BackwardStatistics::Saved(self.bytes(plan.statistics_size())),
        };
        let around = d.fusion != Fusion::default();
        let stored = d.fusion.prologue != Prologue::default();
        let element = match d.fusion.prologue.rounding {
            SumRounding::AsStored(element) => element,
            SumRounding::Exact if stored => Element::F32,
            _ => types.input,
        };
        let (input, dy) = (self.whole(element, n), self.whole(types.grad_output, n));
        let mut args = BackwardArgs::new(input, dy, statistics).scale(scale).bias(bias.filter(|_| around));
        args.fused = self.fused(d);
        // terms that are only added leave no trace on the way back
        let FusedArgs { gate, z, modulation_scale, modulation_shift, addend, out_gate, .. } = args.fused;
        args.fused = FusedArgs::default()
            .gate(gate)
            .z(z)
            .modulation_scale(modulation_scale)
            .modulation_shift(modulation_shift)
            .addend(addend)
            .out_gate(out_gate);
        if d.fusion.prologue.multiplier != Multiplier::None {
            args.fused.multiplied = Some(self.whole(types.input, n));
        }
        args.fused_gradients = self.fused_gradients(d, n);
        if self.rng.u32(..4) > 0 {
            args.grad_input = Some(self.destination(types.grad_input, n));
        }
        if scale.is_some() && self.rng.bool() {
            args.grad_scale = Some(self.list(types.grad_scale, parameters));
        }
        if bias.is_some() && self.rng.bool() {
            args.grad_bias = Some(self.list(types.grad_bias, parameters));
        }
        plan.backward(&args.workspace(self.workspace(plan.backward_workspace_size())))
    }

    /// A tensor, or a list over axes.
    fn over(&mut self, d: &NormDescriptor<'_>, axes: &[usize], element: [Element; 2]) -> Tensor {
        let sizes = axes.iter().map(|&axis| d.shape.get(axis).copied().unwrap_or(1));
        let len = sizes.fold(1u64, u64::saturating_mul);
        if axes.len() == d.shape.len() { self.whole(element[0], len) } else { self.list(element[1], len) }
    }

    /// What a fusion names, exactly.
    fn fused(&mut self, d: &NormDescriptor<'_>) -> FusedArgs<BufferId> {
        let Fusion { prologue, modulation, epilogue, quantization, .. } = d.fusion;
        let own = [d.types.input, d.types.scale];
        let mut args = FusedArgs::default();
        args.residual = prologue.residual.map(|axes| self.over(d, axes, own));
        args.prologue_bias = prologue.bias.map(|axes| self.over(d, axes, own));
        let all: Vec<usize> = (0..d.shape.len()).collect();
        if let Multiplier::Gate(axes) = prologue.multiplier {
            args.gate = Some(self.over(d, axes, own));
        }
        if matches!(prologue.multiplier, Multiplier::Activation(_)) || epilogue.gate.is_some() {
            args.z = Some(self.over(d, &all, own));
        }
        args.modulation_scale = modulation.filter(|m| m.scale).map(|m| self.over(d, m.axes, own));
        args.modulation_shift = modulation.filter(|m| m.shift).map(|m| self.over(d, m.axes, own));
        args.addend = epilogue.addend.then(|| self.over(d, &all, own));
        args.out_residual = epilogue.out_residual.then(|| self.over(d, &all, own));
        args.out_gate = epilogue.out_gate.map(|axes| self.over(d, axes, own));
        if prologue != Prologue::default() && self.rng.bool() {
            let element = match prologue.rounding {
                SumRounding::AsStored(element) => element,
                _ => one(&mut self.rng, &[Element::F32, Element::F16]),
            };
            args.sum = Some(self.over(d, &all, [element; 2]));
        }
        if let Some(how) = quantization {
            let len = all.iter().map(|&axis| d.shape[axis]).fold(1u64, u64::saturating_mul);
            let row = d.shape.last().copied().unwrap_or(1).max(1);
            let scales = match how.scale {
                QuantScale::Row => len / row,
                QuantScale::Block { columns } => (len / row).saturating_mul(row.div_ceil(columns.max(1))),
                _ => 1,
            };
            let list = Some(self.list(Element::F32, scales));
            if how.scale == QuantScale::Static { args.static_scale = list } else { args.scales = list }
        }
        args
    }

    /// Some of the gradients to what a fusion names.
    fn fused_gradients(&mut self, d: &NormDescriptor<'_>, n: u64) -> FusedGradients<BufferId> {
        let Fusion { prologue, modulation, epilogue, .. } = d.fusion;
        let own = [d.types.grad_input, d.types.grad_scale];
        let all: Vec<usize> = (0..d.shape.len()).collect();
        let mut wanted = FusedGradients::default();
        let some = |this: &mut Self, axes: Option<&[usize]>| {
            let axes = axes.filter(|_| this.rng.bool())?;
            Some(this.over(d, axes, own))
        };
        wanted.residual = some(self, prologue.residual);
        wanted.prologue_bias = some(self, prologue.bias);
        if let Multiplier::Gate(axes) = prologue.multiplier {
            wanted.gate = some(self, Some(axes));
        }
        let z = matches!(prologue.multiplier, Multiplier::Activation(_)) || epilogue.gate.is_some();
        wanted.z = some(self, z.then_some(&all[..]));
        wanted.modulation_scale = some(self, modulation.filter(|m| m.scale).map(|m| m.axes));
        wanted.modulation_shift = some(self, modulation.filter(|m| m.shift).map(|m| m.axes));
        wanted.addend = some(self, epilogue.addend.then_some(&all[..]));
        wanted.out_gate = some(self, epilogue.out_gate);
        if self.rng.u32(..4) == 0 {
            wanted.arriving = Some(self.whole(Element::F32, n));
        }
        wanted
    }

    pub fn adaptive(&mut self, plan: &AdaptivePlan) -> Made {
        let (n, style, types) = (plan.content().len(), plan.style_len(), plan.content().types());
        let (input, style_view) = (self.whole(types.input, n), self.list(types.input, style));
        let saved = self.bytes(plan.content().statistics_size());
        if self.rng.bool() {
            let output = self.destination(types.output, n);
            let args =
                AdaptiveArgs::new(input, style_view, output).saved(if self.rng.bool() { Some(saved) } else { None });
            return plan.forward(&args.workspace(self.workspace(plan.workspace_size())));
        }
        let dy = self.whole(types.grad_output, n);
        let mut args = AdaptiveBackwardArgs::new(input, style_view, dy, saved);
        if self.rng.bool() {
            args.grad_input = Some(self.destination(types.grad_input, n));
        }
        if self.rng.bool() {
            args.grad_style = Some(self.list(types.grad_input, style));
        }
        plan.backward(&args.workspace(self.workspace(plan.backward_workspace_size())))
    }

    pub fn spectral(&mut self, plan: &SpectralPlan, d: &SpectralDescriptor<'_>) -> Made {
        self.pad(d.shape);
        let n = d.shape.iter().product();
        let (rows, columns) = (plan.rows(), plan.columns());
        let types = d.types;
        let (weight, sigma) = (self.whole(types.input, n), self.list(Element::F32, 1));
        let workspace = self.bytes(plan.workspace_size());
        let vectors = (d.shape.len() > 1).then(|| (self.list(Element::F32, rows), self.list(Element::F32, columns)));
        if self.rng.bool() {
            let mut args = SpectralArgs::new(weight, self.destination(types.output, n), sigma, workspace);
            args.vectors = vectors;
            args.iterations =
                one(&mut self.rng, &[PowerIterations::Frozen, PowerIterations::Count(0), PowerIterations::Count(2)]);
            return plan.forward(&args);
        }
        let (dy, to) = (self.whole(types.grad_output, n), self.whole(types.grad_input, n));
        let mut args = SpectralBackwardArgs::new(weight, dy, to, sigma, workspace);
        args.vectors = vectors;
        plan.backward(&args)
    }
}
