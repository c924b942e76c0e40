//! Tests of what `ARCHITECTURE.md` promises: no kind of norm below the plan, and few kernels.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use crate::catalogue::{self, Buffers, Place};
use crate::descriptor::{AdaptiveDescriptor, Affine, AffineAxes, MemoryFormat, NormDescriptor, NormKind};
use crate::element::Element;
use crate::facts::{DeviceFacts, DeviceKind};
use crate::kernel::{Entry, Kernel};
use crate::norm::{AdaptiveArgs, BackwardArgs, BackwardStatistics, ForwardArgs, Planner};

fn planner() -> Planner {
    Planner::new(DeviceFacts { kind: DeviceKind::Software, min_subgroup: 8, ..DeviceFacts::DEFAULT })
}

/// Kernels that a norm takes forward and backward, each operand in a buffer of its own.
fn keys(d: &NormDescriptor<'_>) -> Vec<Kernel> {
    let plan = planner().plan(d).unwrap();
    let (n, affine) = (plan.len(), plan.affine_len());
    let mut b = Buffers::new(Place::Roomy, 1);
    let forward = ForwardArgs {
        scale: d.affine.has_scale().then(|| b.list(Element::F32, affine)),
        bias: d.affine.has_bias().then(|| b.list(Element::F32, affine)),
        ..ForwardArgs::new(b.tensor(Element::F32, n), b.tensor(Element::F32, n))
            .workspace(b.bytes(plan.workspace_size()))
    };
    let statistics = BackwardStatistics::Saved(b.bytes(plan.statistics_size()));
    let backward = BackwardArgs {
        scale: d.affine.has_scale().then(|| b.list(Element::F32, affine)),
        grad_scale: d.affine.has_scale().then(|| b.list(Element::F32, affine)),
        grad_bias: d.affine.has_bias().then(|| b.list(Element::F32, affine)),
        ..BackwardArgs::new(b.tensor(Element::F32, n), b.tensor(Element::F32, n), statistics)
            .grad_input(b.tensor(Element::F32, n))
            .workspace(b.bytes(plan.backward_workspace_size()))
    };
    [plan.forward(&forward).unwrap().kernels, plan.backward(&backward).unwrap().kernels].concat()
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
    ];
    for (a, b) in pairs {
        // equal partitions of statistics; those of parameters differ where one of the two has none
        let alike = NormDescriptor { affine: b.affine, ..a.clone() };
        let (first, second) = (keys(&alike), keys(&b));
        // kinds differ in where eps stands and in the order in which numbers that are not finite mix: constants of a
        // kernel
        let names = |kernels: &[Kernel]| {
            let of_kinds = [".products", ".folded", ".eps_alone", ".plain"];
            let name = |kernel: &Kernel| of_kinds.iter().fold(kernel.to_string(), |name, word| name.replace(word, ""));
            kernels.iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(names(&first), names(&second), "{:?} and {:?}", a.kind, b.kind);
    }
}

/// An adaptive norm is a norm of the content, after a norm's moments of the style.
#[test]
fn an_adaptive_norm_has_kernels_of_other_norms() {
    const SHAPE: [u64; 3] = [2, 3, 50];
    let plan = planner().plan_adaptive(&AdaptiveDescriptor::new(&SHAPE, &[2, 3, 9])).unwrap();
    let mut b = Buffers::new(Place::Roomy, 1);
    let args = AdaptiveArgs::new(b.tensor(Element::F32, 300), b.tensor(Element::F32, 54), b.tensor(Element::F32, 300))
        .workspace(b.bytes(plan.workspace_size()));
    let kernels = plan.forward(&args).unwrap().kernels;
    let content = NormDescriptor {
        affine_axes: AffineAxes::Axes(&[0, 1]),
        ..norm(NormKind::Instance, &SHAPE, Affine::ScaleAndBias)
    };
    let entries = |kernels: &[Kernel]| kernels.iter().map(|kernel| kernel.entry).collect::<Vec<_>>();
    assert!(entries(&keys(&content)).contains(entries(&kernels).last().unwrap()), "{:?}", entries(&kernels));
    assert_eq!(plan.content().schedule(), planner().plan(&content).unwrap().schedule());
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

/// WGSL files in `shaders/`, by their path below it.
fn shaders() -> BTreeMap<PathBuf, String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "wgsl") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut found = Vec::new();
    walk(&root, &mut found);
    let read = |path: PathBuf| (path.strip_prefix(&root).unwrap().to_owned(), std::fs::read_to_string(&path).unwrap());
    found.into_iter().map(read).collect()
}

/// Each kernel is one file, beside the folders of fragments, and no file names a kind of norm.
#[test]
fn kernels_are_few_and_know_no_norm() {
    let files = shaders();
    let fragment = |path: &Path| path.components().any(|folder| folder.as_os_str() == "lib");
    let kernels: Vec<String> =
        files.keys().filter(|path| !fragment(path)).map(|p| p.file_stem().unwrap().to_string_lossy().into()).collect();
    let known: BTreeSet<&str> = Entry::ALL.iter().map(|entry| entry.file()).collect();
    assert_eq!(kernels.iter().map(String::as_str).collect::<BTreeSet<_>>(), known);
    assert!(known.len() <= 22, "{known:?}");
    for (path, source) in &files {
        assert!(source.lines().count() <= 150, "{} is long", path.display());
        assert!(source.lines().all(|line| line.len() <= 120), "{} is wide", path.display());
        for word in source.split(|c: char| !c.is_alphanumeric() && c != '_') {
            let word = word.to_lowercase();
            let kinds = ["batch", "layer", "instance", "rms", "adain", "adaptive", "spectral"];
            // a counter counts batches, whatever the norm
            let counter = word.ends_with("_batches") || word == "batches";
            let named = kinds.iter().any(|kind| word.starts_with(kind)) && !counter || word.contains("group_norm");
            assert!(!named, "{} names a kind of norm: {word}", path.display());
        }
    }
}

const RELATIONS: [&str; 6] = ["<", ">", "<=", ">=", "==", "!="];
const BITS: [&str; 3] = ["&", "|", "^"];
const ARITHMETIC: [&str; 5] = ["+", "-", "*", "/", "%"];

/// Whether operators that stand side by side, between the same parentheses, need more of them in WGSL.
fn is_ambiguous(operators: &[&str]) -> bool {
    let of = |list: &'static [&str]| move |operator: &&str| list.contains(operator);
    let mixes = |found: &[&str]| found.iter().any(|operator| *operator != found[0]);
    let is_logical = |operator: &&str| of(&["&&", "||"])(operator);
    let logical: Vec<&str> = operators.iter().copied().filter(is_logical).collect();
    operators.iter().any(of(&BITS)) && mixes(operators)
        || mixes(&logical)
        || operators.split(is_logical).any(|terms| {
            let shifts = |sides: &[&str]| sides.iter().any(of(&["<<", ">>"])) && sides.len() > 1;
            terms.iter().filter(|operator| of(&RELATIONS)(operator)).count() > 1
                || terms.split(of(&RELATIONS)).any(shifts)
        })
}

/// Where a text has such operators, as the tokens before the end of their expression.
pub(crate) fn ambiguities(source: &str) -> Vec<String> {
    let bare: String = source.lines().flat_map(|line| [line.split("//").next().unwrap_or(""), "\n"]).collect();
    let spaced = "()[]{};,".chars().fold(bare, |text, mark| text.replace(mark, &format!(" {mark} ")));
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let (mut levels, mut found) = (vec![Vec::new()], Vec::new());
    for (place, &token) in tokens.iter().enumerate() {
        match token {
            "(" | "[" => levels.push(Vec::new()),
            ")" | "]" | "{" | "}" | ";" | "," => {
                let operators = levels.last_mut().map(std::mem::take).unwrap_or_default();
                if is_ambiguous(&operators) {
                    found.push(tokens[place.saturating_sub(30)..place].join(" "));
                }
                if matches!(token, ")" | "]") {
                    levels.pop();
                }
            }
            _ if RELATIONS
                .iter()
                .chain(&BITS)
                .chain(&ARITHMETIC)
                .chain(&["&&", "||", "<<", ">>"])
                .any(|o| *o == token) =>
            {
                levels.last_mut().expect("parentheses come in pairs").push(token);
            }
            _ => {}
        }
    }
    found
}

/// naga reads what WGSL refuses: browsers ask for parentheses where operators of these kinds meet.
#[test]
fn operators_that_wgsl_does_not_mix_have_parentheses() {
    for (text, is_refused) in [
        ("let a = b && (c == 0.0) & d;", true),
        ("let a = b && ((c == 0.0) & d);", false),
        ("let a = b >= c & d;", true),
        ("f(a & b | c, d);", true),
        ("f(a & b & c, d | e);", false),
        ("if a || b && c {", true),
        ("if a || (b && c < d) || e + f * g == h {", false),
        ("x = a << b + c;", true),
        ("x = a << b < c >> d && e == f;", false),
        ("x = a[i & 3u] * (b - c) >> d;", true),
        ("x = a < b == c;", true),
        ("fn f(a: array<vec2<u32>, 3>) -> bool { return a == b; } // a & b | c", false),
    ] {
        assert_eq!(!ambiguities(text).is_empty(), is_refused, "{text}");
    }
    let found = shaders().into_iter().flat_map(|(path, source)| {
        ambiguities(&source).into_iter().map(move |words| format!("{}: {words}", path.display()))
    });
    assert_eq!(found.collect::<Vec<_>>(), Vec::<String>::new());
}

/// Every difference that involves a shift or a mean goes through `exact.wgsl`: in all kernels that plans make.
#[test]
fn shifts_are_subtracted_in_one_place() {
    let mut kernels = HashSet::new();
    catalogue::recipes(&planner(), &mut |_, recipe| {
        // constants are not in the text
        kernels.extend(recipe.kernels.iter().map(|kernel| Kernel { overrides: Default::default(), ..*kernel }));
    });
    assert!(kernels.len() > 10);
    let subtracts = [
        "- acc.x",
        "- acc.y",
        "- a.x",
        "- a.y",
        "- by.center",
        "- center",
        "- mean)",
        "- mean ",
        "- mean;",
        "- shift",
        "- head.x",
        "- head.y",
    ];
    for kernel in kernels {
        for line in kernel.source().lines().map(|line| line.split("//").next().unwrap_or("")) {
            // an xor with a zero that no compiler knows does what `difference` does
            let folded = line.contains("* alpha") || line.contains("opaque(");
            assert!(folded || !subtracts.iter().any(|s| line.contains(s)), "{kernel}: {line}");
        }
    }
}
