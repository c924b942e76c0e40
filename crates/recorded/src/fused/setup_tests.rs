//! Requests of family `fused` and the norms that they come to.

use wgpu_norm::{
    Activation, Affine, AffineAxes, Element, Epilogue, Fusion, MemoryFormat, Modulation, Multiplier, NormKind,
    NormalizedRounding, Prologue, QuantFormat, QuantScale, Quantization, SumRounding,
};

use crate::fused::place::Form;
use crate::fused::setup::{Setup, support};
use crate::golden::Request;
use crate::setup::Support;

/// A case of f16 with inputs of these names and shapes.
fn case(op: &str, attrs: &str, inputs: &[(&str, &str)]) -> Request {
    let input = |(name, shape): &(&str, &str)| format!(r#""{name}": {{"dtype": "F16", "shape": {shape}}}"#);
    let inputs = inputs.iter().map(input).collect::<Vec<_>>().join(", ");
    let json = format!(
        r#"{{"name": "c", "op": "fused_{op}_norm", "source": "PyTorch", "dtype": "F16", "attrs": {attrs},
            "file": null, "inputs": {{{inputs}}}, "outputs": {{}}}}"#
    );
    serde_json::from_str(&json).unwrap()
}

fn prologue(multiplier: &str, residual: bool, bias: bool, rounding: &str) -> String {
    format!(
        r#""prologue": {{"multiplier": "{multiplier}", "residual": {residual}, "bias": {bias},
            "rounding": "{rounding}"}}, "sum_dtype": "F16""#
    )
}

fn epilogue(activation: &str, gate: &str, others: &str) -> String {
    format!(
        r#""epilogue": {{"activation": "{activation}", "gate": "{gate}", "addend": false, "out_gate": false,
            "out_residual": false, "factor": 1.0, "negative_slope": 0.25 {others}}}"#
    )
}

const MODULATION: &str = r#""modulation": {"scale": true, "shift": true, "scale_offset": 1}"#;

/// What a case comes to.
type Norm<'a> = (NormKind<'static>, &'a [u64], Affine, AffineAxes<'a>, Fusion<'a>);

fn check(op: &str, attrs: &[&str], shape: &str, (kind, memory, affine, affine_axes, fusion): Norm<'_>) {
    let attrs = format!("{{{}}}", attrs.join(", "));
    let request = case(op, &attrs, &[("input", shape)]);
    let setup = Setup::of(&request).unwrap();
    let found = setup.descriptor();
    let of = format!("{op} {attrs} {shape}");
    assert_eq!((found.kind, found.shape, found.affine), (kind, memory, affine), "{of}");
    assert_eq!((found.affine_axes, found.fusion), (affine_axes, fusion), "{of}");
    assert_eq!(support(&request), Support::Runs, "{of}");
}

#[test]
fn layer_and_rms_norms() {
    let (rms, layer) = (|axes| NormKind::Rms { axes }, |axes| NormKind::Layer { axes });
    let (plain, own) = (Fusion::default(), AffineAxes::OfKind);
    let as_stored = Prologue::residual(&[0, 1]).rounding(SumRounding::AsStored(Element::F16));
    let llama = plain.prologue(as_stored).normalized_rounding(NormalizedRounding::AsOutput);
    let rows = [r#""normalized_shape": [6]"#, r#""normalized_rounding": "as_output""#];
    let axes = r#""operand_axes": {"residual": [0, 1], "weight": [1]}"#;
    let sum = prologue("none", true, false, "as_stored");
    check("rms", &[rows[0], rows[1], axes, &sum], "[4, 6]", (rms(1..2), &[4, 6], Affine::Scale, own, llama));

    let axes = r#""operand_axes": {"weight": [1], "bias": [1]}, "weight_offset": 1"#;
    let one_plus = plain.one_plus_scale();
    check("layer", &[rows[0], axes], "[4, 6]", (layer(1..2), &[4, 6], Affine::ScaleAndBias, own, one_plus));

    // the last axis in groups: parameters keep all of it
    let axes = r#""operand_axes": {"weight": [1], "z": [0, 1]}, "group_size": 2"#;
    let before = plain.prologue(Prologue::default().multiplier(Multiplier::Activation(Activation::Silu)));
    let split = AffineAxes::Axes(&[1, 2]);
    let silu = prologue("silu", false, false, "exact");
    check("rms", &[axes, &silu], "[4, 6]", (rms(2..3), &[4, 3, 2], Affine::Scale, split, before));

    let axes = r#""operand_axes": {"gate": [0, 2], "residual": [0, 1, 2], "prologue_bias": [2], "bias": [0, 2]}"#;
    let gated = Prologue::residual(&[0, 1, 2]).bias(&[2]).multiplier(Multiplier::Gate(&[0, 2]));
    let (gate, apart) = (prologue("gate", true, true, "exact"), AffineAxes::Axes(&[0, 2]));
    let fusion = plain.prologue(gated);
    check("layer", &[rows[0], axes, &gate], "[2, 3, 6]", (layer(2..3), &[2, 3, 6], Affine::Bias, apart, fusion));

    let axes = r#""operand_axes": {"mod_scale": [0, 2], "mod_shift": [0, 2], "out_gate": [0, 2]}"#;
    let after = Epilogue::default().out_gate(&[0, 2]).out_residual();
    let zero = plain.modulation(Modulation::new(&[0, 2])).epilogue(after);
    let end = r#""epilogue": {"activation": "none", "gate": "none", "addend": false, "out_gate": true,
        "out_residual": true, "factor": 1.0}"#;
    check("layer", &[rows[0], axes, MODULATION, end], "[2, 3, 6]", (layer(2..3), &[2, 3, 6], Affine::None, own, zero));

    let after = plain.epilogue(Epilogue::default().gate(Activation::LeakyRelu { slope: 0.25 }));
    let axes = r#""operand_axes": {"weight": [2, 3], "z": [0, 1, 2, 3]}, "normalized_shape": [3, 4]"#;
    let gate = epilogue("none", "leaky_relu", "");
    check("rms", &[axes, &gate], "[1, 2, 3, 4]", (rms(2..4), &[1, 2, 3, 4], Affine::Scale, own, after));
}

#[test]
fn norms_of_channels() {
    let (plain, own) = (Fusion::default(), AffineAxes::OfKind);
    let silu = plain.epilogue(Epilogue::activation(Activation::Silu));
    let group = NormKind::Group { groups: 2 };
    let last = r#""num_groups": 2, "channel_axis": -1, "operand_axes": {"weight": [2], "bias": [2]}"#;
    let after = epilogue("silu", "none", "");
    check("group", &[last, &after], "[3, 5, 4]", (group.clone(), &[3, 5, 4], Affine::ScaleAndBias, own, silu));

    let broadcast = r#""num_groups": 2, "channel_axis": 1,
        "operand_axes": {"residual": [0, 1], "prologue_bias": [1], "weight": [1], "bias": [1]}"#;
    let skip = plain.prologue(Prologue::residual(&[0, 1]).bias(&[1]));
    let sum = prologue("none", true, true, "exact");
    check("group", &[broadcast, &sum], "[3, 4, 5]", (group, &[3, 4, 5], Affine::ScaleAndBias, own, skip));

    let two = r#""channel_axis": -1, "training": true, "operand_axes": {"weight": [1]}"#;
    check("batch", &[two], "[3, 4]", (NormKind::Batch, &[3, 4], Affine::Scale, own, plain));

    let modulated = plain.modulation(Modulation::new(&[0, 1]));
    let axes = r#""channel_axis": 1, "operand_axes": {"mod_scale": [0, 1], "mod_shift": [0, 1]}"#;
    let kind = NormKind::Instance;
    check("instance", &[axes, MODULATION], "[3, 4, 5]", (kind, &[3, 4, 5], Affine::None, own, modulated));

    for (axis, shape, format) in [
        (-1, "[3, 5, 4]", MemoryFormat::ChannelsLast),
        (-1, "[3, 4]", MemoryFormat::ChannelsFirst),
        (1, "[3, 4, 5]", MemoryFormat::ChannelsFirst),
    ] {
        let request = case("batch", &format!(r#"{{"channel_axis": {axis}}}"#), &[("input", shape)]);
        assert_eq!(Setup::of(&request).unwrap().descriptor().format, format, "{axis} {shape}");
    }
}

#[test]
fn views_are_described_as_they_lie_in_memory() {
    // heads outside of positions, held the other way round
    let held = r#"{"normalized_shape": [4], "operand_axes": {"weight": [3], "gate": [1, 2]}, "views":
        {"input": {"of": "held", "shape": [2, 3, 5, 4], "strides": [60, 4, 12, 1], "offset": 0}}}"#;
    let inputs = [("held", "[2, 5, 3, 4]"), ("weight", "[4]"), ("dy", "[2, 3, 5, 4]"), ("gate", "[3, 5]")];
    let request = case("rms", held, &inputs);
    let setup = Setup::of(&request).unwrap();
    assert_eq!(setup.descriptor().shape, [2, 5, 3, 4]);
    let form = |name: &str| setup.place(name).map(|place| (place.form(), place.shape));
    assert_eq!(form("input"), Some((Form::Dense, vec![2, 5, 3, 4])));
    assert_eq!(form("dy"), Some((Form::Scattered, vec![2, 5, 3, 4])));
    assert_eq!(form("gate"), Some((Form::Scattered, vec![5, 3])));
    assert_eq!(form("weight"), Some((Form::Dense, vec![4])));
    assert_eq!(form("z"), None);
    let values: Vec<f32> = (0..120).map(|value| value as f32).collect();
    let there = setup.place("dy").unwrap().gather(&values);
    assert_eq!(there[..6], [0.0, 1.0, 2.0, 3.0, 20.0, 21.0]);
    assert_eq!(setup.restore("dx", &[2, 3, 5, 4], there), values);
    let there = setup.place("gate").unwrap().gather(&values[..15]);
    assert_eq!(setup.restore("dgate", &[3, 5], there), values[..15]);
    let saved = setup.restore("save_rstd", &[2, 3, 5], values[..30].to_vec());
    assert_eq!(saved[..6], [0.0, 3.0, 6.0, 9.0, 12.0, 1.0]);

    // halves of one tensor: rows at a distance, whatever groups they are split into
    let halves = r#""operand_axes": {"z": [0, 1]}, "views":
        {"input": {"of": "xz", "shape": [4, 6], "strides": [12, 1], "offset": 6},
        "z": {"of": "xz", "shape": [4, 6], "strides": [12, 1], "offset": 0}}"#;
    for attrs in [format!(r#"{{"normalized_shape": [6], {halves}}}"#), format!(r#"{{"group_size": 2, {halves}}}"#)] {
        let form = Form::Rows { axis: 0, stride: 12 };
        let request = case("rms", &attrs, &[("xz", "[4, 12]")]);
        let setup = Setup::of(&request).unwrap();
        let (input, z) = (setup.place("input").unwrap(), setup.place("z").unwrap());
        assert_eq!((input.form(), z.form(), input.offset, z.of.as_str()), (form, form, 6, "xz"), "{attrs}");
    }
}

#[test]
fn sums_are_exact_unless_statistics_see_them_rounded() {
    for (rounding, expected) in [("exact", Element::F32), ("as_stored", Element::F16)] {
        let request = case("rms", &format!("{{{}}}", prologue("none", true, false, rounding)), &[]);
        assert_eq!(Setup::of(&request).unwrap().sum_element(), Some(expected), "{rounding}");
    }
    assert_eq!(Setup::of(&case("rms", "{}", &[])).unwrap().sum_element(), None);
}

#[test]
fn outputs_are_quantised_as_recorded() {
    let quantised = |format, scale| {
        let attrs =
            format!(r#"{{"quantise": {{"format": "{format}", "scale": "{scale}", "block": 64, "min_scale": 0.5}}}}"#);
        let request = case("rms", &attrs, &[("input", "[2, 2]")]);
        assert_eq!(support(&request), Support::Runs);
        Setup::of(&request).unwrap().descriptor().fusion.quantization
    };
    let of = |format, scale| Some(Quantization::new(format, scale).least(0.5));
    assert_eq!(quantised("int8", "row"), of(QuantFormat::Int8, QuantScale::Row));
    assert_eq!(quantised("e4m3", "block"), of(QuantFormat::E4m3, QuantScale::Block { columns: 64 }));
    assert_eq!(quantised("int8", "static"), of(QuantFormat::Int8, QuantScale::Static));
}

#[test]
fn what_arrives_behind_a_multiplier_is_not_there_yet() {
    let attrs = format!("{{{}}}", prologue("gate", true, false, "exact"));
    assert_eq!(support(&case("rms", &attrs, &[("dx_addend", "[2, 2]")])), Support::NotYet);
}
