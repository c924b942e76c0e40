//! Norms under Burn's autodiff: one node each.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Grads;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend};

use crate::op::{Gradients, Keep, NormBackend, Op, Operands, Optional, Outputs, Saved, Wanted};

impl<B: NormBackend, C: CheckpointStrategy> NormBackend for Autodiff<B, C> {
    fn norm_forward(operands: Operands<Self>, op: Op) -> Outputs<Self> {
        let (input, input_node) = operands.input.into_parts();
        let (scale, scale_node) = parts::<B, C>(operands.scale);
        let (bias, bias_node) = parts::<B, C>(operands.bias);
        let (residual, residual_node) = parts::<B, C>(operands.residual);
        let (mean, _) = parts::<B, C>(operands.mean);
        let (variance, _) = parts::<B, C>(operands.variance);
        let [scale, bias, mean, variance] = [scale, bias, mean, variance].map(Optional::from);
        let parameters = Parameters { has_scale: scale_node.is_some(), has_bias: bias_node.is_some() };
        let mut operands = Operands { input, scale, bias, residual: residual.into(), mean, variance };

        // Input and residual are a node of their own: their sum has a gradient beside that of the norm.
        let mut made = None;
        let (input_node, sum) = match residual_node {
            None => (input_node, None),
            Some(residual_node) => {
                let outputs = B::norm_forward(operands.clone(), Op { keep: Keep::Moments, ..op });
                let stored = outputs.sum.clone().into_option().expect("a residual makes a sum");
                let nodes = SumBackward.prepare::<C>([input_node, residual_node]).compute_bound();
                let sum = nodes.stateless(stored.clone());
                operands = Operands { input: stored, residual: Optional::Absent, ..operands };
                made = Some(outputs);
                (sum.node(), Some(sum))
            }
        };

        let call = Call { operands, op, parameters, made };
        let mut nodes = vec![input_node];
        nodes.extend(scale_node);
        nodes.extend(bias_node);
        let outputs = match nodes.len() {
            1 => call.record::<C, 1>(nodes),
            2 => call.record::<C, 2>(nodes),
            _ => call.record::<C, 3>(nodes),
        };
        Outputs { sum: sum.into(), ..outputs }
    }

    fn norm_backward(_: Saved<Self>, _: Op, _: Wanted) -> Gradients<Self> {
        unreachable!("wgpu-norm: Burn has no autodiff of an autodiff backend")
    }
}

type Parts<B> = (Option<FloatTensor<B>>, Option<NodeGuard>);

fn parts<B: NormBackend, C: CheckpointStrategy>(tensor: Optional<Autodiff<B, C>>) -> Parts<B> {
    tensor.into_option().map(|tensor| tensor.into_parts()).unzip()
}

/// Which parameters are parents of a node, behind the input and in this order.
#[derive(Clone, Copy, Debug)]
struct Parameters {
    has_scale: bool,
    has_bias: bool,
}

/// A norm of an inner backend on its way to a node.
struct Call<B: NormBackend> {
    operands: Operands<B>,
    op: Op,
    parameters: Parameters,
    /// What was computed already, with moments.
    made: Option<Outputs<B>>,
}

impl<B: NormBackend> Call<B> {
    /// Computes, and keeps what backward needs where any parent is tracked.
    fn record<C: CheckpointStrategy, const N: usize>(self, nodes: Vec<NodeGuard>) -> Outputs<Autodiff<B, C>> {
        let Self { operands, op, parameters, made } = self;
        let forward = |keep| made.unwrap_or_else(|| B::norm_forward(operands.clone(), Op { keep, ..op }));
        let nodes: [NodeGuard; N] = nodes.try_into().expect("as many nodes as the caller counted");
        let (output, outputs) = match NormBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(node) => {
                let outputs = forward(Keep::Moments);
                let moments = outputs.moments.clone().into_option().expect("moments were to be kept");
                let Operands { input, scale, bias, .. } = operands;
                let state = State { input, scale, bias, moments, op, parameters };
                (node.finish(state, outputs.output.clone()), outputs)
            }
            OpsKind::UnTracked(node) => {
                let outputs = forward(Keep::Nothing);
                (node.finish(outputs.output.clone()), outputs)
            }
        };
        let constant = |tensor: Optional<B>| tensor.into_option().map(Autodiff::<B, C>::from_inner).into();
        let [mean, variance] = [outputs.mean, outputs.variance].map(constant);
        Outputs { output, sum: Optional::Absent, moments: Optional::Absent, mean, variance }
    }
}

/// What a norm keeps for its backward pass.
#[derive(Clone, Debug)]
struct State<B: NormBackend> {
    input: FloatTensor<B>,
    scale: Optional<B>,
    bias: Optional<B>,
    moments: FloatTensor<B>,
    op: Op,
    parameters: Parameters,
}

#[derive(Debug)]
struct NormBackward;

impl<B: NormBackend, const N: usize> Backward<B, N> for NormBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, N>, grads: &mut Grads, _: &mut Checkpointer) {
        let State { input, scale, bias, moments, op, parameters } = ops.state;
        let grad_output = grads.consume::<B>(&ops.node);
        let mut parents = ops.parents.into_iter();
        let input_node = parents.next().flatten();
        let scale_node = if parameters.has_scale { parents.next().flatten() } else { None };
        let bias_node = if parameters.has_bias { parents.next().flatten() } else { None };
        let saved = Saved { input, grad_output, moments, scale, bias };
        let wanted = Wanted { input: input_node.is_some(), scale: scale_node.is_some(), bias: bias_node.is_some() };
        let made = B::norm_backward(saved, op, wanted);
        let pairs = [(input_node, made.input), (scale_node, made.scale), (bias_node, made.bias)];
        for (node, gradient) in pairs {
            if let Some((node, gradient)) = node.zip(gradient.into_option()) {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

/// The gradient to a sum is that to its terms.
#[derive(Debug)]
struct SumBackward;

impl<B: NormBackend> Backward<B, 2> for SumBackward {
    type State = ();

    fn backward(self, ops: Ops<(), 2>, grads: &mut Grads, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        for parent in ops.parents.into_iter().flatten() {
            grads.register::<B>(parent.id, gradient.clone());
        }
    }
}
