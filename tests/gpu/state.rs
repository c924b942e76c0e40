//! Checkpoints: one made by PyTorch runs on the GPU (tests/data), saved bytes load again, mistakes are named.

use crate::harness::*;
use safetensors::SafeTensors;
use wgpu_norm::*;

const CHECKPOINT: &[u8] = include_bytes!("../data/pytorch_checkpoint.safetensors");
const OUTPUTS: &[u8] = include_bytes!("../data/pytorch_outputs.safetensors");

/// What float32 on both sides may leave, as a share of the largest value.
const TOLERANCE: f64 = 1e-6;

const BOTH: Affine = Affine::ScaleAndBias;

/// Shape and values that PyTorch recorded.
fn recorded(name: &str) -> (Vec<u64>, Vec<f32>) {
    let file = SafeTensors::deserialize(OUTPUTS).unwrap();
    let tensor = file.tensor(name).unwrap();
    (tensor.shape().iter().map(|&size| size as u64).collect(), bytemuck::pod_collect_to_vec(tensor.data()))
}

fn assert_recorded(name: &str, actual: &[f32]) {
    let expected: Vec<f64> = recorded(name).1.into_iter().map(f64::from).collect();
    let worst = error(actual, &expected);
    assert!(worst.clone().is_ok_and(|worst| worst <= TOLERANCE), "{name}: {worst:?}");
}

/// Every module of the checkpoint.
fn model() -> StateSpec {
    let tracked = RunningStatistics::Tracked;
    let bias = |spec: StateSpec, len: u64| spec.with("bias", &[len], StateType::F32);
    StateSpec::join([
        bias(StateSpec::spectral(&[8, 3, 3, 3], 0).unwrap(), 8).prefixed("spectral."),
        StateSpec::batch(8, BOTH, tracked).prefixed("batch."),
        StateSpec::group(8, BOTH).prefixed("group."),
        bias(StateSpec::spectral(&[8, 4, 2, 2], 1).unwrap(), 4).prefixed("up."),
        StateSpec::instance(4, BOTH, tracked).prefixed("instance."),
        bias(StateSpec::weight(&[6, 4, 3], Some(0)).unwrap(), 6).prefixed("temporal."),
        bias(StateSpec::weight(&[5, 142], None).unwrap(), 5).prefixed("linear."),
        StateSpec::rms(&[5], Affine::Scale).prefixed("rms."),
        bias(StateSpec::weight_hook(&[7, 5], Some(0)).unwrap(), 7).prefixed("old_weight."),
        bias(StateSpec::spectral_hook(&[12, 7], 0).unwrap(), 12).prefixed("old_spectral."),
        bias(StateSpec::spectral(&[12], 0).unwrap(), 12).prefixed("layer."),
    ])
}

fn checkpoint() -> State {
    State::load(CHECKPOINT, &model()).unwrap()
}

#[test]
fn norms_of_a_pytorch_checkpoint_give_their_outputs() {
    let (gpu, state) = (gpu(), checkpoint());
    let cases = [
        ("batch", NormKind::Batch, BOTH),
        ("instance", NormKind::Instance, BOTH),
        ("group", NormKind::Group { groups: 4 }, BOTH),
        ("rms", NormKind::Rms { axes: 2..3 }, Affine::Scale),
    ];
    for (module, kind, affine) in cases {
        let values = |name: &str| state.f32(&format!("{module}.{name}")).ok().map(<[f32]>::to_vec);
        let (shape, input) = recorded(&format!("{module}.input"));
        let descriptor = NormDescriptor { affine, ..NormDescriptor::new(kind, &shape) };
        let norm = gpu.engine.create_norm(&descriptor).unwrap();
        let given = values("running_mean").zip(values("running_var"));
        let run = if given.is_some() { run_given } else { run_training };
        let data = Data { input, scale: values("weight"), bias: values("bias"), given };
        assert_recorded(&format!("{module}.output"), &run(gpu, &norm, &data).unwrap().output);
    }
}

/// One more training step from the running statistics and counter of the checkpoint, as PyTorch made it.
#[test]
fn training_goes_on_from_a_pytorch_checkpoint() {
    let (gpu, mut state) = (gpu(), checkpoint());
    let (shape, input) = recorded("batch.input");
    let descriptor = NormDescriptor { affine: Affine::None, ..NormDescriptor::new(NormKind::Batch, &shape) };
    let norm = gpu.engine.create_norm(&descriptor).unwrap();
    let [input, output] = [gpu.buffer(&input), gpu.buffer(&vec![POISON; input.len()])];
    let (saved, workspace) =
        (gpu.buffer(&vec![POISON; norm.statistics_size() as usize / 4]), norm.create_workspace().unwrap());
    let [mean, variance] = ["mean", "var"].map(|name| gpu.buffer(state.f32(&format!("batch.running_{name}")).unwrap()));
    let batches = gpu.bytes(&state.counter("batch.num_batches_tracked").unwrap().to_le_bytes());
    let statistics = BufferView::whole(&saved);
    let args = TrainingArgs::new(TensorView::whole(&input), TensorView::whole(&output), statistics);
    let training = norm.bind_training(&args.workspace(workspace.as_ref().map(BufferView::whole)));
    let args = RunningArgs::new(statistics, TensorView::whole(&mean), TensorView::whole(&variance));
    let running = norm.bind_running_update(&args.batches(BufferView::whole(&batches)));
    gpu.run(&[&training.unwrap(), &running.unwrap()]);
    assert_recorded("batch.next.running_mean", &gpu.read(&mean));
    assert_recorded("batch.next.running_var", &gpu.read(&variance));

    state.insert("batch.running_mean", gpu.read(&mean));
    state.insert("batch.running_var", gpu.read(&variance));
    state.insert("batch.num_batches_tracked", gpu.read(&batches)[0].to_bits());
    let loaded = State::load(&state.save(&model()).unwrap(), &model()).unwrap();
    assert_eq!(loaded.i64("batch.num_batches_tracked"), Ok(&[6][..]));
    assert_eq!(loaded, state);
}

#[test]
fn spectral_norms_of_a_pytorch_checkpoint_give_their_weights() {
    let (gpu, state) = (gpu(), checkpoint());
    let new = ["parametrizations.weight.original", "parametrizations.weight.0._u", "parametrizations.weight.0._v"];
    let old = ["weight_orig", "weight_u", "weight_v"];
    for (module, names, dim) in [("spectral", new, 0), ("up", new, 1), ("old_spectral", old, 0), ("layer", new, 0)] {
        let (shape, _) = recorded(&format!("{module}.weight"));
        let descriptor = SpectralDescriptor { dim, ..SpectralDescriptor::new(&shape) };
        let norm = gpu.engine.create_spectral_norm(&descriptor).unwrap();
        let [weight, u, v] = names.map(|name| state.f32(&format!("{module}.{name}")).ok().map(|data| gpu.buffer(data)));
        let weight = weight.unwrap();
        let [sigma, output] = [1, norm.len() as usize].map(|len| gpu.buffer(&vec![POISON; len]));
        let workspace = norm.create_workspace().unwrap().expect("a workspace");
        let [weight, output_view, sigma] = [&weight, &output, &sigma].map(TensorView::whole);
        let mut args = SpectralArgs::new(weight, output_view, sigma, BufferView::whole(&workspace));
        args.vectors = u.as_ref().map(TensorView::whole).zip(v.as_ref().map(TensorView::whole));
        gpu.run(&[&norm.bind_forward(&args).unwrap()]);
        assert_recorded(&format!("{module}.weight"), &gpu.read(&output));
    }
}

#[test]
fn weight_norms_of_a_pytorch_checkpoint_give_their_weights() {
    let (gpu, state) = (gpu(), checkpoint());
    let new = ["parametrizations.weight.original0", "parametrizations.weight.original1"];
    let old = ["weight_g", "weight_v"];
    for (module, names, dim) in [("temporal", new, Some(0)), ("linear", new, None), ("old_weight", old, Some(0))] {
        let (shape, _) = recorded(&format!("{module}.weight"));
        let norm = gpu.engine.create_norm(&NormDescriptor::new(NormKind::Weight { dim }, &shape)).unwrap();
        let [g, v] = names.map(|name| state.f32(&format!("{module}.{name}")).unwrap().to_vec());
        let data = Data { input: v, scale: Some(g), ..Data::default() };
        assert_recorded(&format!("{module}.weight"), &run_training(gpu, &norm, &data).unwrap().output);
    }
}

#[test]
fn saved_bytes_are_those_of_pytorch() {
    assert!(checkpoint().save(&model()).unwrap() == CHECKPOINT);
    let group = StateSpec::group(8, BOTH).prefixed("group.");
    let part = checkpoint().save(&group).unwrap();
    assert_eq!(State::load(&part, &group).unwrap().names().collect::<Vec<_>>(), ["group.bias", "group.weight"]);
}

/// PyTorch saves what a model has in 16 bits; other programs save doubles.
#[test]
fn floats_of_other_sizes_are_read_as_f32() {
    let values = [1.5f32, -0.25, 3e-5, f32::INFINITY];
    let halves = [0x3e00u16, 0xb400, 0x01f7, 0x7c00].map(u16::to_le_bytes).concat();
    let upper = values.map(|value| [value.to_le_bytes()[2], value.to_le_bytes()[3]]).concat();
    let doubles = values.map(|value| f64::from(value).next_up().to_le_bytes()).concat();
    let file = |dtype: safetensors::Dtype, data: &[u8]| {
        let view = safetensors::tensor::TensorView::new(dtype, vec![4], data).unwrap();
        safetensors::serialize([("running_var", view)], None).unwrap()
    };
    let spec = StateSpec::default().with("running_var", &[4], StateType::F32);
    for (dtype, data) in
        [(safetensors::Dtype::F16, &halves), (safetensors::Dtype::BF16, &upper), (safetensors::Dtype::F64, &doubles)]
    {
        let state = State::load(&file(dtype, data), &spec).unwrap();
        let read = state.f32("running_var").unwrap();
        let near = read.iter().zip(&values).all(|(read, value)| read == value || (read / value - 1.0).abs() < 0.004);
        assert!(near, "{dtype}: {read:?}");
        // the next save has them as f32
        let saved = state.save(&spec).unwrap();
        let tensors = SafeTensors::deserialize(&saved).unwrap();
        assert_eq!(tensors.tensor("running_var").unwrap().dtype(), safetensors::Dtype::F32);
        let counter = StateSpec::default().with("running_var", &[4], StateType::I64);
        let refused = State::load(&file(dtype, data), &counter).unwrap_err().to_string();
        let expected = r#"the state does not fit: "running_var" holds 1.5, needed whole numbers of 64 bits"#;
        assert!(refused.starts_with(expected) || dtype == safetensors::Dtype::F64, "{refused}");
    }
}

/// A file of tensors: name, type, shape, bytes.
fn file(tensors: &[(&str, safetensors::Dtype, &[usize], &[u8])]) -> Vec<u8> {
    let views = tensors.iter().map(|&(name, dtype, shape, data)| {
        (name, safetensors::tensor::TensorView::new(dtype, shape.to_vec(), data).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn counters_are_read_in_every_form_that_checkpoints_have() {
    use safetensors::Dtype;
    let spec = StateSpec::default().with("num_batches_tracked", &[], StateType::I64);
    let forms: [(Dtype, &[usize], &[u8]); 6] = [
        (Dtype::I64, &[], &7i64.to_le_bytes()),
        (Dtype::I64, &[1], &7i64.to_le_bytes()),
        (Dtype::I32, &[], &7i32.to_le_bytes()),
        (Dtype::F32, &[1, 1], &7f32.to_le_bytes()),
        (Dtype::F64, &[], &7f64.to_le_bytes()),
        (Dtype::F16, &[], &0x4700u16.to_le_bytes()),
    ];
    for (dtype, shape, data) in forms {
        let state = State::load(&file(&[("num_batches_tracked", dtype, shape, data)]), &spec).unwrap();
        assert_eq!(state.counter("num_batches_tracked"), Ok(7), "{dtype} {shape:?}");
    }
    for (dtype, shape, data, expected) in [
        (Dtype::F32, &[][..], &7.5f32.to_le_bytes()[..], "holds 7.5, needed whole numbers"),
        (Dtype::U64, &[], &u64::MAX.to_le_bytes(), "holds 18446744073709551615, needed whole numbers"),
        (Dtype::BOOL, &[], &[1], "is BOOL, needed I64"),
        (Dtype::I32, &[2], &[0; 8], "has shape [2], needed []"),
    ] {
        let error = State::load(&file(&[("num_batches_tracked", dtype, shape, data)]), &spec).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn what_a_file_departs_from_is_an_option() {
    use safetensors::Dtype::F32;
    let (one, two) = (1f32.to_le_bytes(), 2f32.to_le_bytes());
    let pair = |prefix: &str| [format!("{prefix}running_mean"), format!("{prefix}running_var")];
    let with = |prefixes: &[&str], more: &[&str]| {
        let mut names: Vec<String> = prefixes.iter().flat_map(|prefix| pair(prefix)).collect();
        names.extend(more.iter().map(|&name| name.to_owned()));
        let value = |name: &str| if name.ends_with("mean") { &one[..] } else { &two[..] };
        file(&names.iter().map(|name| (name.as_str(), F32, &[1][..], value(name))).collect::<Vec<_>>())
    };
    let spec = StateSpec::batch(1, Affine::None, RunningStatistics::Tracked);
    let (found, none) = (StatePrefix::Found, StatePrefix::None);
    let given = |prefix: &str| StatePrefix::Given(prefix.to_owned());
    let lacking = |prefix| StateOptions { prefix, counters: AbsentCounters::Zero, ..StateOptions::default() };
    let lax = |prefix| StateOptions { extra: ExtraTensors::Ignore, ..lacking(prefix) };
    let good = [
        (with(&[""], &[]), lacking(none.clone())),
        (with(&[""], &[]), lacking(found.clone())),
        (with(&["module."], &[]), lacking(given("module."))),
        (with(&["module."], &[]), lacking(found.clone())),
        (with(&["model/bn1/"], &["head.weight"]), lacking(found.clone())),
        // one fits, the other has more than is listed
        (with(&["a.", "b."], &["b.weight"]), lacking(found.clone())),
        (with(&["a.", "b."], &["b.weight"]), lax(given("b."))),
        (with(&["", "module."], &[]), lax(found.clone())),
    ];
    for (bytes, options) in good {
        let state = State::load_with(&bytes, &spec, &options).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        assert_eq!((state.f32("running_mean"), state.f32("running_var")), (Ok(&[1.0][..]), Ok(&[2.0][..])));
        assert_eq!(state.counter("num_batches_tracked"), Ok(0));
        assert_eq!(state.names().count(), 3);
    }
    let bad = [
        (with(&[""], &[]), StateOptions::default(), "is missing (AbsentCounters::Zero takes 0"),
        (with(&["module."], &[]), lacking(none.clone()), r#"there behind "module.", which StatePrefix::Found takes"#),
        (with(&["a.", "b."], &[]), lacking(found.clone()), r#"behind each of "a.", "b.": StatePrefix::Given chooses"#),
        (with(&["xmodule"], &[]), lacking(found.clone()), r#"; there is "xmodulerunning_mean", "xmodulerunning_var""#),
        (with(&["a."], &["a.weight"]), lacking(found.clone()), r#"not fit: "a.weight" is extra"#),
        (with(&["a."], &[]), lacking(given("b.")), r#""b.running_mean" is missing"#),
        (file(&[]), lacking(found), "there is no tensor at all"),
    ];
    for (bytes, options, expected) in bad {
        let error = State::load_with(&bytes, &spec, &options).unwrap_err().to_string();
        assert!(error.contains(expected), "{options:?}: {error}");
    }
    // a model's thousand tensors are not all listed
    let many: Vec<String> = (0..1000).map(|index| format!("layer{index:04}.gamma")).collect();
    let many = with(&[], &many.iter().map(String::as_str).collect::<Vec<_>>());
    let error = State::load_with(&many, &spec, &lax(none)).unwrap_err().to_string();
    assert!(error.ends_with("\"layer0023.gamma\", and 976 more") && error.len() < 2000, "{error}");
}

#[test]
fn shapes_of_a_spec_are_those_of_pytorch() {
    let shapes = |spec: Result<StateSpec, PlanError>| -> Vec<Vec<u64>> {
        spec.unwrap().entries().iter().map(|entry| entry.shape.clone()).collect()
    };
    assert_eq!(shapes(StateSpec::weight(&[4, 5, 6], Some(2))), [vec![1, 1, 6], vec![4, 5, 6]]);
    assert_eq!(shapes(StateSpec::spectral(&[4, 5, 6], 1)), [vec![4, 5, 6], vec![5], vec![24]]);
    assert_eq!(shapes(StateSpec::spectral_hook(&[4], 0)), [vec![4], vec![4], vec![1]]);
    let untracked = StateSpec::instance(4, Affine::None, RunningStatistics::Untracked);
    assert!(untracked.entries().is_empty());
    let rank = |kind| Err(PlanError::RankTooLow { kind, rank: 0, min: 1 });
    let axis = Err(PlanError::AxesOutOfRange { axes: vec![2], rank: 2 });
    assert_eq!(StateSpec::spectral(&[], 0), rank("spectral"));
    assert_eq!(StateSpec::weight(&[], None), rank("weight"));
    assert_eq!(StateSpec::spectral(&[3, 4], 2), axis);
    assert_eq!(StateSpec::weight_hook(&[3, 4], Some(2)), axis);
    let overflow = StateSpec::spectral_hook(&[2, u64::MAX, 2], 0);
    assert!(matches!(overflow, Err(PlanError::ShapeOverflows { .. })));
}

#[test]
fn every_departure_from_the_spec_is_named_at_once() {
    let spec = StateSpec::join([
        StateSpec::batch(9, Affine::Scale, RunningStatistics::Untracked).prefixed("batch."),
        StateSpec::default().with("bias", &[8], StateType::I64).with("scale", &[], StateType::F32).prefixed("group."),
        StateSpec::default().with("weight", &[5], StateType::F32).with("weight", &[5], StateType::F32).prefixed("rms."),
    ]);
    let message = State::load(CHECKPOINT, &spec).unwrap_err().to_string();
    let expected = [
        r#"the state does not fit: "rms.weight" is listed twice"#,
        r#""batch.bias" is extra"#,
        r#""batch.num_batches_tracked" is extra"#,
        r#""batch.running_mean" is extra"#,
        r#""batch.running_var" is extra"#,
        r#""group.weight" is extra"#,
        r#""batch.weight" has shape [8], needed [9]"#,
        r#""group.bias" holds 1.3670096, needed whole numbers of 64 bits"#,
        r#""group.scale" is missing"#,
    ];
    assert!(message.starts_with(&expected.join("; ")), "{message}");
    let first = r#"; there is "batch.bias", "batch.num_batches_tracked", "#;
    assert!(message.contains(first) && message.ends_with(r#""old_weight.weight_v", and 12 more"#), "{message}");
    // without a prefix the spec claims the whole file
    let whole = State::load(CHECKPOINT, &StateSpec::group(8, BOTH)).unwrap_err();
    assert!(
        whole.to_string().ends_with(r#"; all of it is there behind "group.", which StatePrefix::Found takes"#),
        "{whole}"
    );
    let StateError::Mismatch { mistakes, .. } = whole else { panic!("{whole}") };
    let extra = mistakes.iter().filter(|mistake| matches!(mistake, StateMistake::Extra { .. })).count();
    assert_eq!((extra, mistakes.len()), (model().entries().len(), model().entries().len() + 2));
}

#[test]
fn what_cannot_be_saved_is_named_at_once() {
    let spec = StateSpec::batch(2, BOTH, RunningStatistics::Tracked).with("huge", &[u64::MAX, 2], StateType::F32);
    let mut state = State::default();
    state.insert("weight", vec![1.0f32; 3]);
    state.insert("bias", vec![1i64; 2]);
    state.insert("running_mean", vec![0.0f32; 2]);
    state.insert("num_batches_tracked", u32::MAX);
    state.insert("huge", vec![0.0f32]);
    state.insert("gamma", vec![1.0f32; 2]);
    let expected = [
        r#"the state does not fit: "gamma" is extra"#,
        r#""weight" has 3 values, shape [2] does not"#,
        r#""bias" is I64, needed F32"#,
        r#""running_var" is missing"#,
        r#""huge" has 1 values, shape [18446744073709551615, 2] does not"#,
        r#"there is "bias", "gamma", "huge", "num_batches_tracked", "running_mean", "weight""#,
    ];
    assert_eq!(state.save(&spec).unwrap_err().to_string(), expected.join("; "));
}

#[test]
fn values_are_asked_for_by_name_type_and_range() {
    let mut state = State::default();
    state.insert("mean", vec![1.0f32]);
    state.insert("largest", u32::MAX);
    state.insert("above", vec![1i64 << 32]);
    state.insert("below", vec![-1i64]);
    state.insert("two", vec![1i64, 2]);
    assert_eq!(state.counter("largest"), Ok(u32::MAX));
    let cases = [
        (state.f32("weight").err(), r#"no tensor "weight""#),
        (state.f32("largest").err(), r#""largest" is I64, not F32"#),
        (state.i64("mean").err(), r#""mean" is F32, not I64"#),
        (state.counter("above").err(), r#"counter "above" must be within 0..=4294967295, got 4294967296"#),
        (state.counter("below").err(), r#"counter "below" must be within 0..=4294967295, got -1"#),
        (state.counter("two").err(), r#""two" has 2 values, a counter has one"#),
    ];
    for (error, expected) in cases {
        assert_eq!(error.unwrap().to_string(), expected);
    }
}

#[test]
fn corrupt_files_are_refused() {
    let file = |header: &str, data: &[u8]| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
    let tensor = |name: usize, start: u64, end: u64| {
        format!(r#""{name}":{{"dtype":"U8","shape":[{}],"data_offsets":[{start},{end}]}}"#, end - start)
    };
    // sizes whose sum wraps around
    let step = (1u64 << 61) - 1;
    let wrapping: Vec<String> = (0..8).map(|i| tensor(i, i as u64 * step, (i as u64 + 1) * step)).collect();
    let cases = [
        (vec![1, 2], "it has 2 bytes, the smallest has 8"),
        (b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "it is a git LFS pointer"),
        (b"PK\x03\x04".to_vec(), "it is a zip archive"),
        (b"<!doctype html>".to_vec(), "it is an HTML page"),
        (u64::MAX.to_le_bytes().to_vec(), "a header of 18446744073709551615 bytes in a file of 8"),
        (file("not json", &[]), "expected ident"),
        (file(&"[".repeat(50_000), &[]), "invalid type"),
        (
            file(&format!("{{{}}}", tensor(0, 0, 1 << 40)), &[0; 8]),
            "8 bytes of tensors, the header needs 1099511627776",
        ),
        (file(&format!("{{{}}}", tensor(0, 1, 2)), &[0; 2]), "invalid offset"),
        (file(&format!("{{{}}}", wrapping.join(",")), &[]), "0 bytes of tensors"),
        (CHECKPOINT[..CHECKPOINT.len() - 1].to_vec(), "bytes of tensors, the header needs"),
    ];
    for (bytes, expected) in cases {
        let message = State::load(&bytes, &model()).unwrap_err().to_string();
        assert!(message.starts_with("not a whole safetensors file: ") && message.contains(expected), "{message}");
    }
    // cuts and flipped bits all over a whole file: errors, never a panic
    for at in (0..CHECKPOINT.len()).step_by(5) {
        assert!(State::load(&CHECKPOINT[..at], &model()).is_err());
        let mut flipped = CHECKPOINT.to_vec();
        flipped[at] ^= 1 << (at % 8);
        drop(State::load(&flipped, &model()));
    }
}
