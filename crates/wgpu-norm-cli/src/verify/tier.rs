//! How much is verified: everything, each kernel and each family of schedules once, or each schedule that is chosen.

use std::cmp::Reverse;
use std::collections::HashSet;

use wgpu_norm::NormKind;

use crate::cases::{Case, Kind, SMALL};

use super::results::family;

/// What is verified, and what of it has been taken.
pub struct Tier<'a> {
    cases: Vec<&'a Case<'a>>,
    takes: Takes,
    /// Norms since the last fresh device.
    norms: usize,
}

/// What a tier takes, and what of it has been taken.
enum Takes {
    Everything,
    EachFamily(HashSet<String>),
    EachChoice(HashSet<String>),
}

impl<'a> Tier<'a> {
    /// Every schedule of every case.
    pub fn all(cases: &[&'a Case<'a>]) -> Self {
        Self { cases: cases.to_vec(), takes: Takes::Everything, norms: 0 }
    }

    /// Each schedule that is chosen for one of the cases, with its numbers, for the smallest of them.
    pub fn choices(cases: &[&'a Case<'a>]) -> Self {
        let mut cases = cases.to_vec();
        cases.sort_by_key(|case| case.len());
        Self { cases, takes: Takes::EachChoice(HashSet::new()), norms: 0 }
    }

    /// What brings a kernel or a family of schedules that was not there yet.
    pub fn quick(cases: &[&'a Case<'a>]) -> Self {
        let mut cases = cases.to_vec();
        // The largest that have all contents first: more than one lane, more than one turn. Larger ones only where none
        // of these has the schedule.
        cases.sort_by_key(|case| (case.len() > SMALL, Reverse(case.len().min(SMALL)), case.len()));
        Self { cases, takes: Takes::EachFamily(HashSet::new()), norms: 0 }
    }

    /// The cases in the order in which they are verified.
    pub fn cases(&self) -> Vec<&'a Case<'a>> {
        self.cases.clone()
    }

    /// Whether a schedule of a case is verified; the one with index 0 is the one that is chosen.
    pub fn takes(&mut self, case: &Case<'_>, index: usize, schedule: &str) -> bool {
        let is_chosen = index == 0;
        let takes = match &mut self.takes {
            Takes::EachChoice(seen) => {
                let ends = (case.types, case.around.map(|around| around.words));
                is_chosen && seen.insert(format!("{} {schedule} {ends:?}", accumulator(case)))
            }
            // what differs in 16 bits are the ends of a kernel, and not how it is scheduled
            _ if case.is_half() => is_chosen,
            Takes::Everything => true,
            Takes::EachFamily(_) if case.is_fused() => is_chosen,
            Takes::EachFamily(seen) => {
                let by_kernel = seen.insert(kernels(case, schedule));
                // Kernels know no kind of norm; what a kind chooses is run for each kind.
                let (kind, backward) = (case.name(), schedule.starts_with("backward"));
                let by_kind = is_chosen && seen.insert(format!("{kind} {:?} {backward}", case.format));
                by_kernel || by_kind
            }
        };
        self.norms += usize::from(takes);
        takes
    }

    /// Norms that were taken since the last fresh device.
    pub fn norms(&self) -> usize {
        self.norms
    }

    /// A fresh device is there.
    pub fn rest(&mut self) {
        self.norms = 0;
    }
}

/// What kernels a schedule has: the same ones for every kind that accumulates the same. How workgroups exchange what
/// they have is tried with one accumulator, and each way to fold gradients too.
fn kernels(case: &Case<'_>, schedule: &str) -> String {
    let first = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
    let accumulator = accumulator(case);
    match (schedule.strip_prefix("backward "), accumulator.as_str()) {
        (None, "") => family(schedule),
        (None, _) => format!("{accumulator} {}", first(schedule)),
        (Some(backward), "") => {
            let (way, reduction) = backward.split_once(", ").unwrap_or((backward, ""));
            format!("backward {} {}", first(way), first(reduction))
        }
        (Some(backward), _) => format!("backward {accumulator} {}", backward.starts_with("fused")),
    }
}

/// What a case accumulates; nothing where it is moments.
fn accumulator(case: &Case<'_>) -> String {
    match &case.kind {
        Kind::Norm(NormKind::LpNormalize { p, .. }) => format!("power {p}"),
        Kind::Norm(NormKind::Rms { .. } | NormKind::Weight { .. }) => "squares".to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use wgpu_norm::MemoryFormat;

    use super::*;
    use crate::cases::{self, CASES, HALVES};

    #[test]
    fn the_quick_tier_takes_a_family_once_and_what_each_kind_chooses() {
        let cases: Vec<&Case<'_>> = CASES.iter().collect();
        let mut tier = Tier::quick(&cases);
        assert!(tier.cases()[0].len() > SMALL / 2 && tier.cases()[0].len() <= SMALL);
        let of = |kind: &str| *cases.iter().find(|case| case.name() == kind).unwrap();
        let (batch, group) = (of("batch"), of("group"));
        let last = cases.iter().find(|case| case.format == MemoryFormat::ChannelsLast).unwrap();
        assert!(tier.takes(batch, 0, "fused 8x1"));
        assert!(!tier.takes(batch, 1, "fused 4x2"));
        assert!(tier.takes(batch, 1, "rows 8x1 in 3 slices"));
        assert!(tier.takes(group, 0, "fused 8x1") && !tier.takes(group, 0, "fused 8x1"));
        assert!(tier.takes(last, 0, "fused 8x1"));
        assert!(tier.takes(of("rms"), 1, "fused 8x1"));
        assert_eq!(tier.norms(), 5);
        let fused = cases::fused();
        assert!(fused.iter().all(|case| tier.takes(case, 0, "fused 8x1") && !tier.takes(case, 1, "rows 8x1")));
        tier.rest();
        assert!(HALVES.iter().all(|case| tier.takes(case, 0, "fused 8x1") && !tier.takes(case, 1, "rows 8x1")));
        let mut choices = Tier::choices(&cases);
        assert!(choices.cases().is_sorted_by_key(|case| case.len()));
        assert!(choices.takes(batch, 0, "rows 8x1") && choices.takes(batch, 0, "rows 16x1"));
        assert!(!choices.takes(group, 0, "rows 8x1") && !choices.takes(group, 1, "rows 32x1"));
        assert!(choices.takes(of("rms"), 0, "rows 8x1") && choices.takes(&HALVES[0], 0, "rows 8x1"));
        let mut all = Tier::all(&cases);
        assert!(all.takes(batch, 1, "fused 8x1") && all.takes(batch, 1, "fused 8x1"));
    }
}
