//! Pieces that kernels' sources are made of, and those that several kinds of kernels choose alike.

use std::borrow::Cow;

use super::key::{Exchange, Kernel};
use crate::element::Element;
use crate::moments::Accumulator;

/// Rows are read and written element by element.
pub(crate) const SPREAD: &str = "SPREAD";

/// A piece of WGSL, and the block of parameters that it declares: the field of `Parameters`, and the struct.
#[derive(Clone)]
pub(super) struct Fragment {
    pub(super) text: Cow<'static, str>,
    pub(super) block: Option<(&'static str, &'static str)>,
}

macro_rules! fragment {
    ($path:literal) => {
        Fragment { text: std::borrow::Cow::Borrowed($crate::kernel::terse::shader!($path)), block: None }
    };
    ($path:literal, $field:literal: $block:literal) => {
        Fragment {
            text: std::borrow::Cow::Borrowed($crate::kernel::terse::shader!($path)),
            block: Some(($field, $block)),
        }
    };
}
pub(super) use fragment;

/// From moments of an accumulator to what numbers are divided by.
pub(super) fn divisor(accumulator: Option<Accumulator>) -> Vec<Fragment> {
    let mut all = vec![
        fragment!("lib/exact.wgsl", "exact": "Exact"),
        fragment!("lib/lookup.wgsl"),
        fragment!("lib/divisor.wgsl", "divisor": "Divisor"),
    ];
    if accumulator == Some(Accumulator::Power) {
        all.push(fragment!("lib/pow.wgsl"));
    }
    all.extend(accumulator.into_iter().flat_map(divisor_of));
    all
}

/// What an accumulator's moments have for `lib/divisor.wgsl`, and how they are scaled.
pub(super) fn divisor_of(accumulator: Accumulator) -> [Fragment; 2] {
    let scaled = fragment!("lib/divisors/scaled.wgsl");
    let ordered = fragment!("lib/divisors/ordered.wgsl");
    match accumulator {
        Accumulator::Centred => [fragment!("lib/divisors/centred.wgsl"), scaled],
        Accumulator::Uncentred => [fragment!("lib/divisors/uncentred.wgsl"), scaled],
        Accumulator::Magnitude => [fragment!("lib/divisors/magnitude.wgsl"), scaled],
        Accumulator::Largest => [fragment!("lib/divisors/largest.wgsl"), ordered],
        Accumulator::Power => [fragment!("lib/divisors/power.wgsl"), ordered],
    }
}

/// What the gradient through moments of an accumulator takes.
pub(super) fn slopes(accumulator: Option<Accumulator>) -> Vec<Fragment> {
    let mut all = divisor(accumulator);
    all.extend([fragment!("lib/normalizer.wgsl"), fragment!("lib/slope.wgsl")]);
    all.extend(accumulator.map(|accumulator| match accumulator {
        Accumulator::Centred => fragment!("lib/slopes/centred.wgsl"),
        Accumulator::Uncentred => fragment!("lib/slopes/uncentred.wgsl"),
        Accumulator::Magnitude => fragment!("lib/slopes/magnitude.wgsl"),
        Accumulator::Largest => fragment!("lib/slopes/largest.wgsl"),
        Accumulator::Power => fragment!("lib/slopes/power.wgsl"),
    }));
    all.extend([fragment!("lib/gradient/sums.wgsl", "sums": "Sums"), fragment!("lib/coefficients.wgsl")]);
    all
}

/// Rows of memory: by vectors, or spread over their lanes element by element.
fn row(kernel: &Kernel) -> Fragment {
    if kernel.consts.get(SPREAD).is_some() { fragment!("lib/row_spread.wgsl") } else { fragment!("lib/row.wgsl") }
}

/// What a kernel takes that walks rows of gradients.
pub(super) fn gradients(kernel: &Kernel) -> Vec<Fragment> {
    let mut all = slopes(kernel.accumulator);
    all.extend([
        row(kernel),
        fragment!("lib/affine.wgsl", "affine": "Affine"),
        fragment!("lib/before/none.wgsl"),
        fragment!("lib/gradient/none.wgsl"),
        seen(kernel),
    ]);
    all
}

/// Lanes of a row are a parameter.
pub(crate) const LANES_GIVEN: &str = "LANES_GIVEN";

/// How many lanes share a row, and how they exchange what they have of it.
pub(super) fn lanes(kernel: &Kernel) -> Vec<Fragment> {
    let exchange = match kernel.exchange {
        Exchange::None => return Vec::new(),
        Exchange::Subgroup => fragment!("lib/lanes_subgroup.wgsl"),
        Exchange::Workgroup => fragment!("lib/lanes_workgroup.wgsl"),
        Exchange::Memory => fragment!("lib/lanes_memory.wgsl"),
    };
    let given = kernel.consts.get(LANES_GIVEN).is_some();
    let count = if given { fragment!("lib/lanes_given.wgsl", "lanes": "Lanes") } else { fragment!("lib/lanes.wgsl") };
    let subgroups = (kernel.exchange != Exchange::Memory).then_some(fragment!("lib/within.wgsl"));
    [count].into_iter().chain(subgroups).chain([exchange]).collect()
}

/// How lanes of a run, which is a part of a row, exchange what they have of it.
pub(super) fn runs(kernel: &Kernel) -> Fragment {
    match kernel.exchange {
        Exchange::Subgroup => fragment!("lib/runs/subgroup.wgsl"),
        _ => fragment!("lib/runs/memory.wgsl"),
    }
}

/// How invocations are numbered.
pub(super) fn enter(kernel: &Kernel) -> Fragment {
    match kernel.exchange {
        Exchange::Subgroup | Exchange::Workgroup => fragment!("lib/enter_subgroup.wgsl"),
        Exchange::None | Exchange::Memory => fragment!("lib/enter.wgsl"),
    }
}

/// The normalized tensor as its scale sees it.
pub(super) fn seen(kernel: &Kernel) -> Fragment {
    rounding("seen4", kernel.around.normalized)
}

/// A function that rounds four numbers to a type.
pub(super) fn rounding(name: &str, element: Element) -> Fragment {
    let value = match element {
        Element::F32 => "x".to_owned(),
        element => format!("{element}_of_words({element}_words(x))"),
    };
    generated(format!("fn {name}(x: vec4<f32>) -> vec4<f32> {{ return {value}; }}\n"))
}

pub(super) fn generated(text: String) -> Fragment {
    Fragment { text: Cow::Owned(text), block: None }
}
