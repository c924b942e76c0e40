//! Bad commands: the GPU and the CPU refuse them alike, in the same words, and write nothing.

mod common;

use common::{apply, data, error, write, write_as};

#[test]
fn both_paths_refuse_alike() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for shape in [&[1][..], &[2], &[3], &[4], &[5], &[2, 1], &[1, 2], &[2, 2], &[2, 3], &[3, 2], &[2, 4]] {
        let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
        write(path, &format!("{}.npy", sizes.join("x")), shape);
    }
    for (name, shape) in [("x.npy", &[4, 2, 3][..]), ("nchw.npy", &[2, 4, 3, 3]), ("c.npy", &[1, 4, 1, 1])] {
        write(path, name, shape);
    }
    for (name, shape) in [
        ("nlc.npy", &[5, 2, 4][..]),
        ("nc1.npy", &[2, 3, 1]),
        ("6.npy", &[6]),
        ("4x1.npy", &[4, 1]),
        ("5x4.npy", &[5, 4]),
        ("1x3x4.npy", &[1, 3, 4]),
        ("3x1.npy", &[3, 1]),
    ] {
        write(path, name, shape);
    }
    write_as(path, "whole.npy", "<i4", &[4], &[0; 16]);
    write_as(path, "zero.npy", "<f4", &[1], &[0; 4]);
    let one_scale = "--quantize int8 --quantize-scale static";
    assert!(apply(path, "layer x.npy b.safetensors --dtype bf16", true).status.success());
    let running =
        |of: &str| format!("--training --running-mean {of}.npy --running-var {of}.npy --running-out s.safetensors");
    let bad = [
        // running statistics of another length: [52, 103] where the means are [2, 4.5, 7, 8], and NaN
        (format!("batch 2x4.npy y.npy {} --momentum 0.5 --check", running("2")), "--running-mean has shape [2]"),
        (format!("batch 2x3.npy y.npy {}", running("5")), "--running-mean has shape [5], the norm needs [1, 3]"),
        ("batch 2x4.npy y.npy --running-mean 4.npy --running-var 2.npy".to_owned(), "--running-var has shape [2]"),
        ("instance x.npy y.npy --running-mean 3.npy --running-var 3.npy".to_owned(), "the norm needs [1, 2, 1]"),
        // as many elements in another shape
        ("layer x.npy y.npy --normalized-shape 2,3 --scale 3x2.npy".to_owned(), "[3, 2], the norm needs [1, 2, 3]"),
        ("weight 2x2.npy y.npy --dim 1 --g 2x1.npy".to_owned(), "--g has shape [2, 1], the norm needs [1, 2]"),
        ("weight 2x2.npy y.npy --dim 0 --g 1x2.npy".to_owned(), "--g has shape [1, 2], the norm needs [2, 1]"),
        ("weight 2x2.npy y.npy --dim none --g 2.npy".to_owned(), "--g has shape [2], the norm needs [1, 1]"),
        ("rms x.npy y.npy --axes 1.. --scale 3x2.npy".to_owned(), "--scale has shape [3, 2]"),
        ("mvn x.npy y.npy --axes 0,2 --bias 3.npy".to_owned(), "the norm needs [4, 1, 3]"),
        ("mvn x.npy y.npy --axes 1,2 --bias 3x2.npy".to_owned(), "--bias has shape [3, 2], the norm needs [1, 2, 3]"),
        (
            "group nchw.npy y.npy --groups 2 --scale 2.npy".to_owned(),
            "--scale has shape [2], the norm needs [1, 4, 1, 1]",
        ),
        ("group nchw.npy y.npy --groups 2 --scale-per-group --scale 4.npy".to_owned(), "the norm needs [1, 2, 1, 1]"),
        ("group nchw.npy y.npy --groups 3".to_owned(), "3 groups do not divide 4 channels"),
        ("batch nchw.npy y.npy --training --format channels-last --scale c.npy".to_owned(), "needs [1, 1, 1, 3]"),
        ("spectral 2x3.npy y.npy --u 2.npy --v 2.npy".to_owned(), "--v has shape [2], the norm needs [3]"),
        ("spectral 2x3.npy y.npy --u 2x1.npy --v 3.npy".to_owned(), "--u has shape [2, 1], the norm needs [2]"),
        ("spectral 2x3.npy y.npy --eps -1".to_owned(), "eps must be a finite number not below 0"),
        ("spectral 2x3.npy y.npy --iterations 0".to_owned(), "'0' is no whole number from 1 to 10000"),
        (
            "spectral 2x3.npy y.npy --dim 2".to_owned(),
            "--dim names axis 2: a tensor of rank 2 has axes 0 to 1, or -2 to -1 from the end",
        ),
        ("spectral 2.npy y.npy --u 2.npy --v 1.npy".to_owned(), "--u and --v: a weight of rank 1 has neither"),
        ("spectral 2x3.npy y.npy --u 3.npy --v 2.npy".to_owned(), "--u has an element a row, --v one a column"),
        // the way out: the other format, another axis, another order
        (
            "batch nlc.npy y.npy --running-mean 4.npy --running-var 4.npy".to_owned(),
            "--format channels-last has its channels along axis 2, 4 of them",
        ),
        (
            "batch nlc.npy y.npy --format channels-last --training --bias 2.npy".to_owned(),
            "--format channels-first has its channels along axis 1, 2 of them",
        ),
        (
            "batch nlc.npy y.npy --running-mean 5.npy --running-var 5.npy".to_owned(),
            "it has the size of axis 0, not of the channels",
        ),
        ("layer nlc.npy y.npy --scale 5.npy".to_owned(), "it fits --scale-axes 0"),
        ("layer x.npy y.npy --axes 1.. --scale 3x2.npy".to_owned(), "in another order: transpose it"),
        ("layer x.npy y.npy --axes 1.. --scale 6.npy".to_owned(), "as many elements: give it that shape"),
        ("weight 2x4.npy y.npy --g 4.npy".to_owned(), "it fits --dim 1"),
        ("layer x.npy y.npy --gate 4x1.npy".to_owned(), "[4, 1, 1] is one with its sizes"),
        ("group nlc.npy y.npy --groups 4".to_owned(), "--format channels-last has 4 along axis 2"),
        ("layer nlc.npy y.npy --normalized-shape 5,2".to_owned(), "the end of shape [5, 2, 4]; --axes 0,1 has these"),
        (
            "layer nlc.npy y.npy --normalized-shape 7".to_owned(),
            "normalized shape [7] is not the end of shape [5, 2, 4]",
        ),
        ("adain nlc.npy y.npy --style 1x3x4.npy".to_owned(), "--format channels-last has the channels along axis 2"),
        (
            "layer nlc.npy y.npy --axes 0,2 --scale 5x4.npy --modulation-scale 2x1.npy".to_owned(),
            "vary along axes [0, 2] and others along axes [1]",
        ),
        (
            "rms nlc.npy y.npy --groups 2 --scale 4.npy --modulation-scale 2x1.npy".to_owned(),
            "vary along axes [2] and others along axes [1]",
        ),
        ("instance 2x3.npy y.npy".to_owned(), "a length of 3 has shape [1, 2, 3]"),
        (
            "instance 2x3.npy y.npy --format channels-last".to_owned(),
            "a length of 2 and 3 channels has shape [1, 2, 3]",
        ),
        ("batch 1x2.npy y.npy --training".to_owned(), "--allow-single-element"),
        ("group 1x2.npy y.npy --groups 2".to_owned(), "--allow-single-element"),
        ("adain nc1.npy y.npy --style nc1.npy --unbiased".to_owned(), "--allow-single-element computes them; without"),
        // axes and numbers that say nothing
        (
            "layer x.npy y.npy --axes 0,3".to_owned(),
            "--axes names axis 3: a tensor of rank 3 has axes 0 to 2, or -3 to -1",
        ),
        ("lp x.npy y.npy --axes 1,-2".to_owned(), "--axes names axis 1 twice"),
        ("mvn x.npy y.npy --axes 2..1".to_owned(), "--axes: there is no axis from 2 up to 1"),
        ("weight x.npy y.npy --g 4.npy --dim -4".to_owned(), "--dim names axis -4"),
        ("spectral x.npy y.npy --dim -4".to_owned(), "--dim names axis -4"),
        ("spectral x.npy y.npy --dim one".to_owned(), "'one' is no axis; write 0, 1, ... or -1, -2, ..."),
        ("layer x.npy y.npy --scale-axes 0".to_owned(), "--scale-axes: there is no --scale and no --bias"),
        ("rms x.npy y.npy --scale 3.npy --scale-axes -4".to_owned(), "--scale-axes names axis -4"),
        ("rms x.npy y.npy --scale 3.npy --scale-axes 1".to_owned(), "--scale has shape [3], the norm needs [1, 2, 1]"),
        (
            "group nchw.npy y.npy --groups 2 --scale 4.npy --scale-axes 1 --scale-per-group".to_owned(),
            "cannot be used with",
        ),
        ("group nchw.npy y.npy --groups -1".to_owned(), "'--groups <GROUPS>': '-1' is no whole number from 1"),
        ("group nchw.npy y.npy --groups 0".to_owned(), "'--groups <GROUPS>': '0' is no whole number from 1"),
        ("rms x.npy y.npy --groups -2".to_owned(), "'--groups <GROUPS>': '-2' is no whole number from 1"),
        ("rms x.npy y.npy --groups 2".to_owned(), "2 groups do not divide 3 channels"),
        ("rms x.npy y.npy --groups 3 --axes 1".to_owned(), "cannot be used with"),
        ("layer x.npy y.npy --normalized-shape -3".to_owned(), "'--normalized-shape <SIZES>': '-3' is no whole number"),
        (
            format!("batch 2x4.npy y.npy {} --batches -1", running("4")),
            "'--batches <N|FILE:NAME>': -1 is no whole number",
        ),
        (format!("batch 2x4.npy y.npy {} --momentum 1e-60", running("4")), "'1e-60' would be 0"),
        (format!("batch 2x4.npy y.npy {} --momentum -0.5", running("4")), "momentum must be within 0..=1, got -0.5"),
        ("spectral 2x3.npy y.npy --iterations -1".to_owned(), "'--iterations <N>': '-1' is no whole number from 1"),
        ("layer x.npy y.npy --eps 1e-50".to_owned(), "'--eps <EPS>': '1e-50' would be 0"),
        ("mvn x.npy y.npy --eps 1e39".to_owned(), "'--eps <EPS>': '1e39' would be infinite"),
        ("lp x.npy y.npy -p 1e-50".to_owned(), "'1e-50' would be 0"),
        ("lp x.npy y.npy --eps nan".to_owned(), "eps must be a finite number not below 0, got NaN"),
        ("rms x.npy y.npy --factor 1e40".to_owned(), "'--factor <NUMBER>': '1e40' would be infinite"),
        ("rms x.npy y.npy --activation leaky-relu --slope -1e-70".to_owned(), "'--slope <SLOPE>': '-1e-70' would be 0"),
        ("rms x.npy y.npy --quantize e4m3 --quantize-scale -1 --scales-out s.npy".to_owned(), "'-1' is none of row"),
        // types that a file cannot have, or that no norm has
        ("layer x.npy y.npy --dtype bf16".to_owned(), "y.npy: a .npy file cannot hold bf16; a .safetensors file can"),
        ("rms b.safetensors y.npy".to_owned(), "a .npy file cannot hold bf16"),
        ("spectral 2x3.npy y.npy --dtype bf16 --state-out s.safetensors".to_owned(), "a .npy file cannot hold bf16"),
        ("layer x.npy y.safetensors --dtype f64".to_owned(), "possible values: f32, f16, bf16"),
        ("layer whole.npy y.npy --dtype f16".to_owned(), "<i4 (signed integer) is not supported, only floats"),
        ("layer x.npy y.npy --scale whole.npy".to_owned(), "whole.npy: element type <i4"),
        // what stands around a norm and does not fit
        ("rms x.npy y.npy --residual 3x2.npy".to_owned(), "--residual has shape [3, 2], the input [4, 2, 3]: write"),
        ("layer x.npy y.npy --gate 4.npy".to_owned(), "--gate has shape [4], the input [4, 2, 3]"),
        ("layer x.npy y.npy --out-gate 2x4.npy".to_owned(), "--out-gate has shape [2, 4]"),
        ("mvn x.npy y.npy --z 3.npy".to_owned(), "--z has shape [3], the norm needs [4, 2, 3]"),
        ("rms x.npy y.npy --out-residual 2x3.npy".to_owned(), "--out-residual has shape [2, 3], the norm needs"),
        (
            "layer x.npy y.npy --modulation-scale 3.npy --modulation-shift 2x3.npy".to_owned(),
            "--modulation-scale varies along axes [2] and --modulation-shift along axes [1, 2]",
        ),
        (
            "group nchw.npy y.npy --groups 2 --scale 4.npy --modulation-scale 3x1.npy".to_owned(),
            "vary along axes [1] and others along axes [2]",
        ),
        ("rms x.npy y.npy --slope 0.1".to_owned(), "--slope is of leaky-relu"),
        ("group nchw.npy y.npy --groups 2 --scale-per-group".to_owned(), "there is no --scale and no --bias"),
        ("layer x.safetensors:t y.npy --tensor u".to_owned(), "leave one of them out"),
        ("layer x.npy y.npy/".to_owned(), "not a regular file"),
        ("rms x.npy y.npy --sum-out s.npy".to_owned(), "the sum would be INPUT itself"),
        ("rms x.npy y.npy --residual x.npy --sum-out y.npy".to_owned(), "two outputs would go there"),
        ("rms x.npy y.npy --residual x.npy --sum-out s.npy --round-sum bf16".to_owned(), "cannot hold bf16"),
        ("rms x.npy y.npy --residual r.npy".to_owned(), "r.npy: "),
        ("rms x.npy y.npy --activation tanh".to_owned(), "possible values: identity, relu, leaky-relu, silu"),
        // bytes and their scales
        ("rms x.npy y.npy --quantize int8".to_owned(), "bytes are nothing without their scales: --scales-out FILE"),
        ("rms x.npy y.npy --quantize int8 --scales-out y.npy".to_owned(), "two outputs would go there"),
        (format!("rms x.npy y.npy {one_scale}"), "needs its one scale: --static-scale FILE"),
        (
            format!("rms x.npy y.npy {one_scale} --static-scale 3.npy"),
            "--static-scale has shape [3], the norm needs [1]",
        ),
        (format!("rms x.npy y.npy {one_scale} --static-scale zero.npy"), "--static-scale holds 0: numbers are divided"),
        (format!("rms x.npy y.npy {one_scale} --static-scale 1.npy --scales-out s.npy"), "none is computed"),
        ("rms x.npy y.npy --quantize int8 --scales-out s.npy --static-scale 1.npy".to_owned(), "is the scale of"),
        ("rms x.npy y.npy --quantize e4m3 --quantize-scale block:0 --scales-out s.npy".to_owned(), "got 0"),
        ("rms x.npy y.npy --quantize e4m3 --quantize-scale blocks --scales-out s.npy".to_owned(), "as block:128"),
        ("rms x.npy y.npy --quantize int4 --scales-out s.npy".to_owned(), "possible values: int8, e4m3"),
        ("lp x.npy y.npy --residual x.npy".to_owned(), "unexpected argument '--residual'"),
        // what is no norm
        ("batch 1x2.npy y.npy --training".to_owned(), "one element a segment"),
        (format!("batch 1x2.npy y.npy {}", running("2")), "one element a segment"),
        ("batch 2x2.npy y.npy --training --eps 0".to_owned(), "needs eps above 0"),
        ("instance 2x3.npy y.npy".to_owned(), "one element a segment"),
        ("layer x.npy y.npy --eps -1".to_owned(), "eps must be"),
        ("layer x.npy y.npy --axes 3".to_owned(), "--axes names axis 3"),
        ("lp x.npy y.npy -p nan".to_owned(), "p must be a number or infinite, got NaN"),
        ("adain x.npy y.npy --style 2x3.npy".to_owned(), "style shape [2, 3] does not fit"),
    ];
    let mut faults = Vec::new();
    for (arguments, expected) in &bad {
        let [gpu, cpu] = [false, true].map(|cpu| apply(path, arguments, cpu));
        let codes = [gpu.status.code(), cpu.status.code()];
        let [gpu, cpu] = [error(&gpu), error(&cpu)];
        if codes != [Some(2); 2] || gpu != cpu || !gpu.contains(expected) {
            faults.push(format!("{arguments}\n  {codes:?}, expected '{expected}'\n  GPU: {gpu}\n  CPU: {cpu}"));
        }
    }
    assert!(faults.is_empty(), "{} of {}\n{}", faults.len(), bad.len(), faults.join("\n"));
    assert!(["y.npy", "y.safetensors", "s.npy", "s.safetensors"].iter().all(|name| !path.join(name).exists()));
}

/// Runs a command that must succeed, and gives its report.
fn report(folder: &std::path::Path, arguments: &str, cpu: bool) -> serde_json::Value {
    let output = apply(folder, &format!("{arguments} --force --check --json"), cpu);
    assert!(output.status.success(), "{arguments}: {}{}", error(&output), String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn outputs_have_the_type_that_is_asked_for_or_that_of_the_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (name, shape) in [("x.npy", &[4, 3, 7][..]), ("7.npy", &[7])] {
        write(path, name, shape);
    }
    for cpu in [true, false] {
        for dtype in ["f32", "f16", "bf16"] {
            let made = report(path, &format!("layer x.npy {dtype}.safetensors --dtype {dtype} --bias 7.npy"), cpu);
            assert_eq!((&made["input_type"], &made["output_type"]), (&"f32".into(), &dtype.into()), "{made}");
            let same = format!("{dtype}.safetensors");
            for norm in [
                format!("layer {same} y.safetensors --axes 0.. --scale {same}"),
                format!("adain {same} y.safetensors --style x.npy"),
                format!("spectral {same} y.safetensors"),
            ] {
                assert_eq!(report(path, &norm, cpu)["output_type"], dtype, "{norm}");
            }
        }
        report(path, "layer f16.safetensors y.npy --mean-out mean.npy --rstd-out rstd.safetensors", cpu);
        for (name, expected) in [("y.npy", "'<f2'"), ("mean.npy", "'<f4'"), ("rstd.safetensors", "\"F32\"")] {
            let bytes = std::fs::read(path.join(name)).unwrap();
            assert!(String::from_utf8_lossy(&bytes).contains(expected), "{name}");
        }
    }
}

#[test]
fn what_stands_around_a_norm_is_computed_on_both_paths() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (name, shape) in [("x.npy", &[4, 2, 3][..]), ("4x1x3.npy", &[4, 1, 3]), ("3.npy", &[3])] {
        write(path, name, shape);
    }
    for (name, shape) in [("nchw.npy", &[2, 4, 3, 3][..]), ("nc11.npy", &[2, 4, 1, 1]), ("4.npy", &[4])] {
        write(path, name, shape);
    }
    for (name, shape) in [("3x3.npy", &[3, 3]), ("3x1.npy", &[3, 1]), ("x11.npy", &[1, 1])] {
        write(path, name, shape);
    }
    for cpu in [true, false] {
        for (norm, has_sum) in [
            ("rms x.npy y.npy --scale 3.npy --residual x.npy --sum-out s.npy", true),
            ("layer x.npy y.npy --residual 3.npy --prologue-bias 3.npy --sum-out s.npy", true),
            ("layer x.npy y.npy --gate 4x1x3.npy --residual x.npy --modulation-scale 4x1x3.npy --sum-out s.npy", true),
            ("layer x.npy y.npy --modulation-shift 4x1x3.npy --activation gelu --addend x.npy", false),
            ("rms x.npy y.npy --scale 3.npy --one-plus-scale --out-residual x.npy --factor 0.5", false),
            ("rms x.npy y.npy --scale 3.npy --z x.npy --out-gate 3.npy", false),
            ("rms x.npy y.npy --z x.npy --z-before --z-activation sigmoid --sum-out s.npy", true),
            ("group nchw.npy y.npy --groups 2 --scale 4.npy --bias 4.npy --activation silu", false),
            ("group nchw.npy y.npy --groups 2 --modulation-scale nc11.npy --plain-modulation", false),
            ("batch nchw.npy y.npy --training --addend nchw.npy --activation relu", false),
            ("rms x.npy y.safetensors --residual x.npy --dtype bf16 --round-sum f16 --sum-out s.npy", true),
            // rows whose words in 16 bits two of them share, of the sum alone
            ("rms 3x3.npy y.npy --prologue-bias 3x3.npy --round-sum f16 --sum-out s.npy", true),
            ("rms 3x3.npy y.npy --residual 3.npy --prologue-bias 3x3.npy --round-sum f16 --sum-out s.npy", true),
            ("layer 3x1.npy y.npy --residual x11.npy --prologue-bias 3x1.npy --round-sum f16 --sum-out s.npy", true),
        ] {
            let made = report(path, norm, cpu);
            assert_eq!(made["check"]["sum"].is_number(), has_sum, "{norm}: {made}");
        }
    }
    // x + x of f32 by --sum-out, which is rounded nowhere
    report(path, "rms x.npy y.npy --residual x.npy --sum-out s.npy", true);
    let sum = std::fs::read(path.join("s.npy")).unwrap();
    let expected: Vec<u8> = (1..=24).flat_map(|index| (2.0 * index as f32).to_le_bytes()).collect();
    assert!(sum.ends_with(&expected));
}

#[test]
fn results_are_bytes_with_scales_on_both_paths() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (name, shape) in [("x.npy", &[5, 2, 7][..]), ("7.npy", &[7]), ("1.npy", &[1])] {
        write(path, name, shape);
    }
    for cpu in [true, false] {
        for (norm, has_scales) in [
            ("rms x.npy y.npy --scale 7.npy --residual x.npy --quantize int8 --scales-out s.npy", true),
            ("rms x.npy y.npy --quantize e4m3 --quantize-scale block:3 --scales-out b.npy", true),
            ("layer x.npy z.safetensors --bias 7.npy --quantize e4m3 --scales-out z.npy --dtype bf16", true),
            ("layer x.npy c.npy --bias 7.npy --quantize int8 --quantize-scale static --static-scale 1.npy", false),
            ("group x.npy g.npy --groups 2 --activation silu --quantize int8 --scales-out s.npy", true),
        ] {
            let made = report(path, norm, cpu);
            assert_eq!(made["check"]["scales"].is_number(), has_scales, "{norm}: {made}");
            let format = if norm.contains("e4m3") { "e4m3" } else { "int8" };
            assert_eq!(made["output_type"], format, "{norm}: {made}");
        }
        for (name, expected, len) in
            [("y.npy", "'|u1'", 70), ("b.npy", "'<f4'", 4 * 5 * 2 * 3), ("c.npy", "'|i1'", 70), ("s.npy", "'<f4'", 40)]
        {
            let text = String::from_utf8_lossy(&std::fs::read(path.join(name)).unwrap()).into_owned();
            assert!(text.contains(expected) && data(&path.join(name)).1.len() == len, "{name}");
        }
        let text = String::from_utf8_lossy(&std::fs::read(path.join("z.safetensors")).unwrap()).into_owned();
        assert!(text.contains("F8_E4M3"), "{text}");
    }
    // rows without an element have scales, too
    write(path, "empty.npy", &[4, 0]);
    for cpu in [true, false] {
        report(path, "layer empty.npy e.npy --quantize int8 --scales-out es.npy", cpu);
        assert_eq!(data(&path.join("es.npy")).1.len(), 16, "{cpu}");
    }
    // (1 to 7, less its mean, over its deviation of 2) + 1 to 7: the others lie between two numbers
    let whole: Vec<i8> = data(&path.join("c.npy")).1.into_iter().map(|byte| byte as i8).collect();
    assert_eq!([whole[1], whole[3], whole[5]], [1, 4, 7], "{whole:?}");
}

#[test]
fn doubles_are_read_with_a_remark() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let elements: Vec<u8> = (1..=6).flat_map(|index| (f64::from(index) / 3.0).to_le_bytes()).collect();
    write_as(path, "double.npy", "<f8", &[2, 3], &elements);
    let output = apply(path, "layer double.npy y.npy --check", true);
    let remarks = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{remarks}");
    assert!(remarks.contains("note: double.npy: 64-bit floats, rounded to 32 bits"), "{remarks}");
}

#[test]
fn parameters_may_leave_sizes_of_1_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write(path, "x.npy", &[2, 4, 3, 3]);
    for (name, shape) in [("4.npy", &[4][..]), ("c11.npy", &[4, 1, 1]), ("1c11.npy", &[1, 4, 1, 1])] {
        write(path, name, shape);
        for cpu in [false, true] {
            let arguments = format!("group x.npy y.npy --force --groups 2 --scale {name} --bias {name} --check");
            let output = apply(path, &arguments, cpu);
            assert!(output.status.success(), "{name}: {}", error(&output));
        }
    }
}
