//! Norms with what stands around them against the f64 reference: every term, modulation and epilogue, by every family
//! of schedules, in tensors of any type, offset and stride.

mod case;
mod errors;
mod gradients;
mod hard;
mod numbers;
mod random;
mod table;

use crate::harness::*;
use case::*;
use table::*;
use wgpu_norm_tools::tier;

/// Checks cases, each a norm with a fusion; reports all that fail.
fn check_all(what: &str, cases: &[Case]) {
    let gpu = gpu();
    // a dispatch has a binding for each buffer, and no more than eight
    let in_one = |case: &Case| Case {
        descriptor: case.descriptor.clone(),
        way: Way { shared: true, ..case.way.clone() },
        seed: case.seed,
    };
    let failure = |case: &Case| {
        let error = match check(gpu, case) {
            Err(error) if error.contains("max_storage_buffers") && !case.way.shared => check(gpu, &in_one(case)),
            result => result,
        };
        error.err().map(|error| format!("{}\n    {error}", describe(case)))
    };
    let failures: Vec<String> = cases.iter().filter_map(failure).collect();
    all_or_report(what, &failures, cases.len());
}

#[test]
fn every_fusion_by_every_family_of_schedules() {
    check_all("fusions by schedules", &tier::some(by_schedules(gpu())).collect::<Vec<_>>());
}

#[test]
fn every_term_and_epilogue() {
    check_all("parts of fusions", &tier::some(parts()).collect::<Vec<_>>());
}

/// Random ones, and those of seeds that have found a mistake once.
#[test]
fn random_fusions() {
    let seeds = (0..12).chain([16, 37, 109]);
    check_all("random fusions", &tier::some(seeds).filter_map(|seed| random::case(gpu(), seed)).collect::<Vec<_>>());
}
