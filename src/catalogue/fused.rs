//! Recipes of norms with something around them: every fragment of a fusion, by vectors and by words.

use super::{BF16, Buffers, F16, Place, Visit, visit};
use crate::descriptor::*;
use crate::element::{Element, Types};
use crate::fusion::*;
use crate::norm::*;
use crate::view::{BufferId, TensorView};

const ALL: &[usize] = &[0, 1, 2];

/// A gate, a modulation and an epilogue with everything; an activation of z, sums of two partitions and a sum that is
/// rounded.
pub(super) fn norms() -> Vec<NormDescriptor<'static>> {
    let layer = NormKind::Layer { axes: 2..3 };
    let prologue = Prologue::residual(ALL).multiplier(Multiplier::Gate(&[2])).bias(&[0, 2]);
    let epilogue = Epilogue::activation(Activation::Silu).gate(Activation::Gelu).addend().out_gate(&[1, 2]);
    let gated = Fusion::default().prologue(prologue).modulation(Modulation::new(&[0, 2]));
    let gated = gated.epilogue(epilogue.out_residual().factor(0.5)).one_plus_scale();
    let activated = Prologue::residual(&[1]).multiplier(Multiplier::Activation(Activation::Silu)).bias(&[1]);
    let activated = Fusion::default().prologue(activated.rounding(SumRounding::AsStored(Element::Bf16)));
    let activated = activated.epilogue(Epilogue::activation(Activation::GeluTanh).out_gate(&[]));
    let activated = activated.normalized_rounding(NormalizedRounding::AsOutput);
    let new = |kind, shape, types, fusion| NormDescriptor { types, fusion, ..NormDescriptor::new(kind, shape) };
    let last = |d| NormDescriptor { format: MemoryFormat::ChannelsLast, ..d };
    vec![
        new(layer.clone(), &[2, 3, 64], BF16, gated),
        new(layer, &[2, 300, 63], F16, activated),
        new(NormKind::Group { groups: 2 }, &[2, 6, 36], Types::default(), activated),
        last(new(NormKind::Batch, &[3, 40, 6], Types::default(), gated)),
    ]
}

/// As many as the axes have, of a tensor where those are all.
fn view(b: &mut Buffers, d: &NormDescriptor<'_>, axes: &[usize]) -> TensorView<BufferId> {
    let len = axes.iter().map(|&axis| d.shape[axis]).product();
    if axes.len() == d.shape.len() { b.tensor(d.types.input, len) } else { b.list(d.types.scale, len) }
}

/// What both passes take.
fn operands(b: &mut Buffers, d: &NormDescriptor<'_>) -> FusedArgs<BufferId> {
    let Fusion { prologue, modulation, epilogue, .. } = d.fusion;
    let mut of = |axes: Option<&[usize]>| axes.map(|axes| view(b, d, axes));
    let gate = if let Multiplier::Gate(axes) = prologue.multiplier { Some(axes) } else { None };
    let z = epilogue.gate.is_some() || matches!(prologue.multiplier, Multiplier::Activation(_));
    FusedArgs::default()
        .gate(of(gate))
        .z(of(z.then_some(ALL)))
        .modulation_scale(of(modulation.map(|m| m.axes)))
        .modulation_shift(of(modulation.map(|m| m.axes)))
        .addend(of(epilogue.addend.then_some(ALL)))
        .out_gate(of(epilogue.out_gate))
}

/// Recipes of a training pass and of a forward pass that keeps no sum.
fn forward(name: &str, d: &NormDescriptor<'_>, plan: &NormPlan, place: Place, to: &mut Visit<'_>) {
    let (n, types) = (plan.len(), d.types);
    for keeps in [false, true] {
        let b = &mut Buffers::new(place, d.shape[d.shape.len() - 1]);
        let fused = operands(b, d);
        let fused = FusedArgs {
            residual: d.fusion.prologue.residual.map(|axes| view(b, d, axes)),
            prologue_bias: d.fusion.prologue.bias.map(|axes| view(b, d, axes)),
            out_residual: d.fusion.epilogue.out_residual.then(|| view(b, d, ALL)),
            ..fused
        };
        let (input, output) = (b.tensor(types.input, n), b.output(types.output, types.input, n));
        let (scale, bias) = (b.list(types.scale, plan.affine_len()), b.list(types.bias, plan.affine_len()));
        let workspace = b.workspace(plan.workspace_size());
        if keeps {
            let sum =
                if let SumRounding::AsStored(element) = d.fusion.prologue.rounding { element } else { Element::F32 };
            b.end_word();
            let fused = fused.sum(b.tensor(sum, n));
            let args = TrainingArgs::new(input, output, b.bytes(plan.statistics_size())).scale(scale).bias(bias);
            visit(name, plan.training(&args.fused(fused).workspace(workspace)), to);
        } else {
            let args = ForwardArgs::new(input, output).scale(scale).bias(bias).fused(fused);
            visit(name, plan.forward(&args.workspace(workspace)), to);
        }
    }
}

/// Gradients to what a fusion names.
fn gradients(b: &mut Buffers, d: &NormDescriptor<'_>, n: u64) -> FusedGradients<BufferId> {
    let Fusion { prologue, modulation, epilogue, .. } = d.fusion;
    let mut of = |axes: Option<&[usize]>| {
        axes.map(|axes| {
            b.end_word();
            if axes.len() == d.shape.len() {
                return b.tensor(d.types.grad_input, n);
            }
            b.list(d.types.grad_scale, axes.iter().map(|&axis| d.shape[axis]).product())
        })
    };
    let gate = if let Multiplier::Gate(axes) = prologue.multiplier { Some(axes) } else { None };
    let z = epilogue.gate.is_some() || matches!(prologue.multiplier, Multiplier::Activation(_));
    FusedGradients::default()
        .residual(of(prologue.residual))
        .gate(of(gate))
        .z(of(z.then_some(ALL)))
        .prologue_bias(of(prologue.bias))
        .modulation_scale(of(modulation.map(|m| m.axes)))
        .modulation_shift(of(modulation.map(|m| m.axes)))
        .addend(of(epilogue.addend.then_some(ALL)))
        .out_gate(of(epilogue.out_gate))
}

/// Recipes of backward: all gradients, and that to the input alone.
fn backward(name: &str, d: &NormDescriptor<'_>, plan: &NormPlan, place: Place, to: &mut Visit<'_>) {
    let (n, affine, types) = (plan.len(), plan.affine_len(), d.types);
    for (all, given) in [(true, false), (false, false), (true, true)] {
        if given && plan.given_segment_count() == 0 {
            continue;
        }
        let b = &mut Buffers::new(place, d.shape[d.shape.len() - 1]);
        let statistics = if given {
            BackwardStatistics::Given(b.bytes(plan.given_statistics_size()))
        } else {
            BackwardStatistics::Saved(b.bytes(plan.statistics_size()))
        };
        let sum = if let SumRounding::AsStored(element) = d.fusion.prologue.rounding { element } else { Element::F32 };
        let fused = operands(b, d);
        let multiplies = d.fusion.prologue.multiplier != Multiplier::None;
        let fused = fused.multiplied(multiplies.then(|| b.tensor(types.input, n)));
        let args = BackwardArgs::new(b.tensor(sum, n), b.tensor(types.grad_output, n), statistics)
            .scale(b.list(types.scale, affine))
            .bias(b.list(types.bias, affine))
            .fused(fused);
        let args = args.grad_input(b.output(types.grad_input, types.grad_output, n));
        let args = if all {
            let arriving = b.tensor(Element::F32, n);
            args.fused_gradients(gradients(b, d, n).arriving(arriving))
                .grad_scale(b.written(types.grad_scale, affine))
                .grad_bias(b.written(types.grad_bias, affine))
        } else {
            args
        };
        b.end_word();
        visit(name, plan.backward(&args.workspace(b.workspace(plan.backward_workspace_size()))), to);
    }
}

/// Recipes of one norm: some places of its operands by the schedules of choice, one place by all others.
pub(super) fn recipes_of(planner: &Planner, d: &NormDescriptor<'_>, to: &mut Visit<'_>) {
    let chosen = planner.plan(d).expect("a plan");
    let name = |how: &str| format!("fused {:?} {:?} {:?} {how}", d.kind, d.shape, d.types);
    // by vectors, from places inside them, in padded rows, and with operands that share a binding
    for place in [Place::Roomy, Place::Shifted, Place::Padded, Place::Dense] {
        let name = name(&format!("{place:?}"));
        forward(&name, d, &chosen, place, to);
        backward(&name, d, &chosen, place, to);
    }
    for schedule in planner.schedules(d).expect("a plan") {
        let plan = planner.plan_with(d, schedule).expect("a plan").expect("its own schedules");
        forward(&name(&schedule.to_string()), d, &plan, Place::Roomy, to);
    }
    for schedule in chosen.backward_schedules() {
        let plan = chosen.with_backward_schedule(schedule).expect("its own schedules");
        backward(&name(&schedule.to_string()), d, &plan, Place::Roomy, to);
    }
}
