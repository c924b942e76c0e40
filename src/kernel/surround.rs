//! What stands around a norm, as a part of a kernel's key.

use crate::element::Element;
use crate::operand::Operand;

/// What becomes of the result of the affine map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum After {
    /// It is the output.
    #[default]
    None,
    /// It goes through an epilogue.
    Fused,
    /// The way back through the epilogue starts from it.
    Delta,
}

/// What stands around a norm, to a kernel: which fragments it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Around {
    /// Another tensor is normalized than the input.
    pub before: bool,
    pub after: After,
    /// The gradient to the input becomes those of the terms of a sum.
    pub terms: bool,
    /// What the sum is rounded to.
    pub sum: Element,
    /// What the normalized tensor is rounded to.
    pub normalized: Element,
    /// 1 is added to the scale.
    pub one_plus: bool,
    /// By whose words a map is dealt, if not by those of what it is there for.
    pub dealt: Option<Operand>,
}

/// Parameters over partitions of their own.
pub(crate) const BROADCAST: [Operand; 3] = [Operand::Gate, Operand::PrologueBias, Operand::OutGate];
