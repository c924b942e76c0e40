//! Pieces that kernels' sources are made of, and those that several kinds of kernels choose alike.

use super::key::{Exchange, Kernel};
use crate::element::Element;
use crate::moments::Accumulator;

/// Rows are read and written element by element.
pub(crate) const SPREAD: &str = "SPREAD";

/// Rows of an odd number of halves are written in pairs, which begin and end at words.
pub(crate) const IN_PAIRS: &str = "IN_PAIRS";

/// Rows that share words of what is written are written by vectors of memory.
pub(crate) const SHARED: &str = "SHARED";

/// f16 is converted by WGSL's own conversions.
pub(crate) const F16_BUILTINS: &str = "F16_BUILTINS";

/// The block of parameters that a piece declares: the field of `Parameters`, and the struct.
pub(super) type Block = (&'static str, &'static str);

/// A file of `shaders/`, and the block that it declares.
pub(super) struct File {
    pub(super) text: &'static str,
    pub(super) block: Option<Block>,
}

/// A piece of WGSL.
#[derive(Clone)]
pub(super) enum Fragment {
    File(&'static File),
    /// What is written for one kernel, with a block for it.
    Made(Box<(String, Option<Block>)>),
}

impl Fragment {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::File(file) => file.text,
            Self::Made(made) => &made.0,
        }
    }

    pub(super) fn block(&self) -> Option<Block> {
        match self {
            Self::File(file) => file.block,
            Self::Made(made) => made.1,
        }
    }
}

macro_rules! fragment {
    ($path:literal) => { fragment!($path => None) };
    ($path:literal, $field:literal: $block:literal) => { fragment!($path => Some(($field, $block))) };
    ($path:literal => $block:expr) => {{
        const FILE: &$crate::kernel::fragment::File =
            &$crate::kernel::fragment::File { text: $crate::kernel::terse::shader!($path), block: $block };
        $crate::kernel::fragment::Fragment::File(FILE)
    }};
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
    all.extend(accumulator.map(slope));
    all.extend([fragment!("lib/gradient/sums.wgsl", "sums": "Sums"), fragment!("lib/coefficients.wgsl")]);
    all
}

fn slope(accumulator: Accumulator) -> Fragment {
    match accumulator {
        Accumulator::Centred => fragment!("lib/slopes/centred.wgsl"),
        Accumulator::Uncentred => fragment!("lib/slopes/uncentred.wgsl"),
        Accumulator::Magnitude => fragment!("lib/slopes/magnitude.wgsl"),
        Accumulator::Largest => fragment!("lib/slopes/largest.wgsl"),
        Accumulator::Power => fragment!("lib/slopes/power.wgsl"),
    }
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
    let mut all = vec![count];
    all.extend(subgroups);
    all.push(exchange);
    all
}

/// How rows of gradients are stored.
pub(super) fn rows(kernel: &Kernel) -> Vec<Fragment> {
    match kernel.consts.get(IN_PAIRS) {
        Some(_) => vec![fragment!("lib/pairs.wgsl"), fragment!("lib/gradient/pairs.wgsl")],
        None => vec![fragment!("lib/gradient/rows.wgsl")],
    }
}

/// How lanes of a run, which is a part of a row, exchange what they have of it, and store it.
pub(super) fn runs(kernel: &Kernel) -> Vec<Fragment> {
    let sums = match kernel.exchange {
        Exchange::Subgroup => fragment!("lib/runs/subgroup.wgsl"),
        _ => fragment!("lib/runs/memory.wgsl"),
    };
    match kernel.consts.get(IN_PAIRS) {
        Some(_) => vec![sums, fragment!("lib/pairs.wgsl"), fragment!("lib/runs/pairs.wgsl")],
        None => vec![sums, fragment!("lib/runs/store.wgsl")],
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
    Fragment::Made(Box::new((text, None)))
}
