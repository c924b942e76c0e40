//! Tests of what `ARCHITECTURE.md` promises: no kind of norm below the plan, and few kernels.

use std::collections::BTreeSet;

use crate::lower::bindings::BindingLimits;
use crate::descriptor::{Affine, AffineAxes, MemoryFormat, NormDescriptor, NormKind};
use crate::lower::{Lowering, MapOperands, Summed, Tensor};
use crate::kernel::{Entry, KernelKey};
use crate::plan::Plan;
use crate::schedule::{DeviceProfile, Schedule};

const LIMITS: BindingLimits = BindingLimits { max_bytes: 1 << 27, max_slots: 8, align: 256 };

fn profile() -> DeviceProfile {
    DeviceProfile {
        workgroup_size: 64,
        max_lanes: 64,
        units: 16,
        unit_lanes: 256,
        unit_registers: 64 << 10,
        vectors: 8,
        vectors_backward: 2,
        min_lanes: 8,
        subgroup: 1,
        held_quads: 8,
        held_quads_backward: 4,
        quads: 4,
        map_quads: 16,
        cached: 0,
        workgroups: 64,
        max_binding: (1 << 27) - 256,
    }
}

/// Keys of the kernels that a norm takes, each operand in a buffer of its own.
fn keys(descriptor: &NormDescriptor<'_>) -> Vec<KernelKey> {
    let plan = Plan::new(descriptor).unwrap();
    let tensor = |buffer| Tensor { buffer, offset: 0, rows: None };
    let map = MapOperands {
        input: Some(tensor(0)),
        output: tensor(1),
        row_len: plan.computed.row_len,
        affine: plan.affine,
        scale: plan.scale.then_some(tensor(2)),
        bias: plan.bias.then_some(tensor(3)),
    };
    let mut lowering = Lowering { limits: LIMITS, profile: profile(), sizes: vec![1 << 30; 6], dispatches: Vec::new() };
    match Schedule::choose(&plan.computed, plan.affine.as_ref(), &profile()) {
        Schedule::Fused(team) => lowering.fused(Entry::Fused, &plan.computed, team, &map, None).unwrap(),
        Schedule::Cached(team) => lowering.fused(Entry::FusedCached, &plan.computed, team, &map, None).unwrap(),
        Schedule::Split(reduce) => {
            lowering.reduce(&plan.computed, &reduce, &Summed::Values(tensor(0)), tensor(4), tensor(5)).unwrap();
            lowering.apply(&plan.computed, &plan.computed.partition, &map, Some(tensor(4))).unwrap();
        }
    }
    lowering.dispatches.iter().map(|dispatch| dispatch.key).collect()
}

fn norm(kind: NormKind<'static>, shape: &'static [u64], affine: Affine) -> NormDescriptor<'static> {
    NormDescriptor { affine, ..NormDescriptor::new(kind, shape) }
}

/// Equal partitions of different norms are equal work: the same kernels, whatever the kind, eps or format.
#[test]
fn equal_partitions_have_equal_kernels() {
    let both = Affine::ScaleAndBias;
    let last = |d| NormDescriptor { format: MemoryFormat::ChannelsLast, ..d };
    let pairs = [
        (norm(NormKind::Instance, &[4, 6, 50], both), norm(NormKind::Group { groups: 6 }, &[4, 6, 50], both)),
        (norm(NormKind::Batch, &[1, 6, 50], both), norm(NormKind::Instance, &[1, 6, 50], both)),
        (
            norm(NormKind::Group { groups: 1 }, &[4, 6, 50], Affine::None),
            norm(NormKind::Layer { axes: 1..3 }, &[4, 6, 50], Affine::None),
        ),
        (last(norm(NormKind::Batch, &[3, 7, 6], both)), norm(NormKind::Layer { axes: 0..1 }, &[21, 6], Affine::None)),
        (
            norm(NormKind::MeanVariance { axes: &[1] }, &[4, 300], Affine::None),
            norm(NormKind::Layer { axes: 1..2 }, &[4, 300], Affine::None),
        ),
        (
            norm(NormKind::Rms { axes: 1..2 }, &[4, 60], Affine::None),
            norm(NormKind::LpNormalize { p: 2.0, axes: 1..2 }, &[4, 60], Affine::None),
        ),
        (
            norm(
                NormKind::AdaptiveInstance {
                    style_shape: &[2, 3, 9],
                    variance: Default::default(),
                    style_eps: Default::default(),
                },
                &[2, 3, 50],
                both,
            ),
            NormDescriptor { affine_axes: AffineAxes::Axes(&[0, 1]), ..norm(NormKind::Instance, &[2, 3, 50], both) },
        ),
    ];
    for (a, b) in pairs {
        let comparable = |d: &NormDescriptor<'_>| {
            let affine = Plan::new(d).unwrap().affine.is_some();
            keys(&NormDescriptor {
                affine: if affine { both } else { Affine::None },
                affine_axes: d.affine_axes,
                ..d.clone()
            })
        };
        let (keys_a, keys_b) = (comparable(&a), comparable(&b));
        if a.affine == b.affine {
            assert_eq!(keys_a, keys_b, "{:?} and {:?}", a.kind, b.kind);
        } else {
            let unparametrized = keys(&NormDescriptor { affine: Affine::None, ..a.clone() });
            assert_eq!(unparametrized, keys_b, "{:?} and {:?}", a.kind, b.kind);
        }
    }
}

/// What does change the work changes the key: the test above can fail.
#[test]
fn different_work_has_different_kernels() {
    let base = norm(NormKind::Layer { axes: 1..2 }, &[4, 300], Affine::ScaleAndBias);
    let others = [
        norm(NormKind::Rms { axes: 1..2 }, &[4, 300], Affine::ScaleAndBias),
        norm(NormKind::Layer { axes: 1..2 }, &[4, 300], Affine::Scale),
        norm(NormKind::Layer { axes: 1..2 }, &[4, 3], Affine::ScaleAndBias),
        norm(NormKind::Layer { axes: 0..1 }, &[4, 300], Affine::ScaleAndBias),
    ];
    for other in others {
        assert_ne!(keys(&base), keys(&other), "{:?} {:?}", other.kind, other.shape);
    }
}

/// The kernels are these twelve files, and no file in `shaders/` names a kind of norm.
#[test]
fn kernels_are_few_and_know_no_norm() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let files = |folder: &std::path::Path| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|e| e == "wgsl")).collect()
    };
    let kernels: BTreeSet<String> =
        files(&folder).iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let expected: BTreeSet<String> = Entry::ALL.iter().map(|entry| entry.name().to_string()).collect();
    assert_eq!(kernels, expected);
    assert_eq!(Entry::ALL.len(), 12);
    let folders = ["", "lib", "lib/accumulators", "lib/divisors"].map(|name| folder.join(name));
    for path in folders.iter().flat_map(|folder| files(folder)) {
        let source = std::fs::read_to_string(&path).unwrap();
        assert!(source.lines().count() <= 150, "{} is long", path.display());
        for word in source.split(|c: char| !c.is_alphanumeric() && c != '_') {
            let word = word.to_lowercase();
            let kinds = ["batch", "layer", "instance", "rms", "adain", "spectral"];
            let named =
                kinds.iter().any(|kind| word.starts_with(kind)) || word == "groups" || word.contains("group_norm");
            assert!(!named, "{} names a kind of norm: {word}", path.display());
        }
    }
}

/// Every difference that involves a shift or a mean goes through `exact.wgsl`.
#[test]
fn shifts_are_subtracted_in_one_place() {
    let sources = crate::shaders::all();
    for shader in &sources {
        for line in shader.source.lines().map(|line| line.split("//").next().unwrap_or("")) {
            let subtracts = [
                "- acc.x",
                "- acc.y",
                "- a.x",
                "- a.y",
                "- by.center",
                "- center",
                "- mean",
                "- shift",
                "- head.x",
                "- head.y",
            ];
            let folded = line.contains("* alpha");
            assert!(folded || !subtracts.iter().any(|s| line.contains(s)), "{}: {line}", shader.name);
        }
    }
}
