//! Any descriptor, any device, any views: an error or a recipe, and a recipe touches nothing but its views. No GPU.
//!
//! A case is a seed: what fails is run again by `FUZZ_SEED=seed cargo test --release --test fuzz -- --nocapture`, which
//! shows it. `PROPTEST_CASES` says how many are run, new ones each time then.

mod descriptors;
mod operands;

use descriptors::Descriptors;
use operands::Operands;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use wgpu_norm::*;

/// What came of cases: refused descriptors, refused operands, recipes.
static COUNTS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

fn count(what: usize) {
    COUNTS[what].fetch_add(1, Ordering::Relaxed);
}

/// Any number of a list.
fn one<T: Copy>(rng: &mut fastrand::Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

/// Any device, down to what the engine refuses to work on.
fn facts(rng: &mut fastrand::Rng) -> DeviceFacts {
    let mut facts = one(rng, &[DeviceFacts::DEFAULT, DeviceFacts::DOWNLEVEL]);
    if rng.bool() {
        facts.kind = one(rng, &[DeviceKind::Gpu, DeviceKind::Software]);
        facts.min_subgroup = one(rng, &[1, 1, 2, 4, 8, 16, 32, 64, 128]);
        facts.max_workgroup_size = one(rng, &[1, 7, 64, 256, 512, 1024, 2048]);
        facts.max_workgroup_memory = one(rng, &[64, 4 << 10, 16 << 10, 32 << 10, 228 << 10]);
        facts.max_workgroup_count = one(rng, &[4096, 65_535, u32::MAX]);
        facts.max_storage_buffers = one(rng, &[4, 5, 6, 7, 8, 10, 16, u32::MAX]);
        facts.max_binding = one(rng, &[1 << 18, (1 << 20) + 4, 128 << 20, (2 << 30) - 1, u64::MAX]);
        facts.storage_align = one(rng, &[4, 16, 32, 64, 256]);
        facts.uniform_align = one(rng, &[16, 64, 256]);
    }
    facts
}

/// What every recipe keeps to: the device's limits, and the views that it was made of.
fn check(recipe: &Recipe<BufferId>, facts: &DeviceFacts, operands: &Operands) -> Result<(), String> {
    let ids: Vec<u32> = recipe.buffers.iter().map(|buffer| buffer.id).collect();
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    if distinct.len() != ids.len() {
        return Err(format!("buffers {ids:?} are not each there once"));
    }
    for dispatch in &recipe.dispatches {
        let kernel = recipe.kernels.get(dispatch.kernel).ok_or("no such kernel")?;
        let fail = |what: String| Err(format!("{kernel}: {what}"));
        let [x, y] = dispatch.workgroups;
        if x == 0 || y == 0 || x > facts.max_workgroup_count || y > facts.max_workgroup_count {
            return fail(format!("a grid of {x}x{y}"));
        }
        if dispatch.bindings.len() != kernel.bindings().count() {
            return fail(format!("{} bindings for {}", dispatch.bindings.len(), kernel.bindings().count()));
        }
        if dispatch.bindings.len() > facts.max_storage_buffers.min(8) as usize {
            return fail(format!("{} bindings", dispatch.bindings.len()));
        }
        let mut written: BTreeMap<usize, bool> = BTreeMap::new();
        for (k, (binding, writes)) in dispatch.bindings.iter().zip(kernel.bindings()).enumerate() {
            let Binding { buffer, offset, size, .. } = *binding;
            let end = offset.checked_add(size).ok_or("a binding's end overflows")?;
            let of = recipe.buffers.get(buffer).ok_or("no such buffer")?;
            let Some(hull) = operands.hull(of.id) else {
                return fail(format!("binding {k} of a buffer without views"));
            };
            let align = u64::from(facts.storage_align);
            if size == 0 || size % 4 != 0 || offset % align != 0 || size > facts.max_binding || end > of.size {
                return fail(format!("binding {k} of {offset}+{size} bytes of {}", of.size));
            }
            // whole vectors are bound, where the buffer has them
            if offset < hull.start / align.max(16) * align.max(16)
                || end >= hull.end.next_multiple_of(4).saturating_add(16)
            {
                return fail(format!("binding {k} of {offset}+{size}, the views are {hull:?}"));
            }
            if writes != binding.writes {
                return fail(format!("binding {k} is written by one of kernel and dispatch"));
            }
            // WebGPU: a buffer is read or written in a dispatch; what is written overlaps nothing
            if *written.entry(buffer).or_insert(writes) != writes {
                return fail(format!("binding {k} reads what another writes"));
            }
            let overlaps =
                |other: &Binding| other.buffer == buffer && offset < other.offset + other.size && other.offset < end;
            if writes && dispatch.bindings[..k].iter().any(overlaps) {
                return fail(format!("binding {k} overlaps another"));
            }
        }
    }
    Ok(())
}

/// Runs the case of a seed.
fn run(seed: u64, shows: bool) -> Result<(), String> {
    let rng = &mut fastrand::Rng::with_seed(seed);
    let facts = facts(rng);
    let planner = Planner::new(facts);
    let descriptors = Descriptors::new(rng);
    let mut operands = Operands::new(rng.fork());
    let made = match rng.u32(..12) {
        0 => planner.plan_adaptive(&descriptors.adaptive(rng)).map(|plan| operands.adaptive(&plan)),
        1 => {
            let descriptor = descriptors.spectral(rng);
            planner.plan_spectral(&descriptor).map(|plan| operands.spectral(&plan, &descriptor))
        }
        _ => {
            let descriptor = descriptors.norm(rng);
            if shows {
                println!("{facts:?}\n{descriptor:?}");
            }
            planner.plan(&descriptor).map(|plan| {
                let backward = plan.backward_schedules();
                let plan = match rng.bool() {
                    true => plan.with_backward_schedule(one(rng, &backward)).expect("one of its own"),
                    false => plan,
                };
                operands.norm(&plan, &descriptor)
            })
        }
    };
    match made {
        Err(_) => count(0),
        Ok(Err(_)) => count(1),
        Ok(Ok(recipe)) => {
            if shows {
                println!("{recipe:?}");
            }
            count(2);
            check(&recipe, &facts, &operands)?;
        }
    }
    Ok(())
}

#[test]
fn descriptors_views_and_limits_make_sound_recipes_or_errors() {
    if let Some(seed) = std::env::var("FUZZ_SEED").ok().map(|seed| seed.parse().expect("a number")) {
        return run(seed, true).expect("a sound recipe");
    }
    let wanted = std::env::var("PROPTEST_CASES").ok().map(|cases| cases.parse().expect("a number"));
    let cases = wanted.unwrap_or(30_000);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    // the same cases each time, unless more are asked for
    let rng = TestRng::deterministic_rng(RngAlgorithm::default());
    let mut runner = if wanted.is_some() { TestRunner::new(config) } else { TestRunner::new_with_rng(config, rng) };
    runner.run(&any::<u64>(), |seed| run(seed, false).map_err(TestCaseError::fail)).unwrap();
    let [descriptors, operands, recipes] = [0, 1, 2].map(|k| COUNTS[k].load(Ordering::Relaxed));
    println!("{cases} cases: {descriptors} descriptors and {operands} operands refused, {recipes} recipes");
    assert!(u64::from(cases) < 1000 || recipes * 5 > u64::from(cases), "most cases come to nothing");
}
