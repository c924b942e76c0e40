//! The GPU and the CPU answer alike: any command that they take gives the same numbers, any other is refused in the
//! same words; and what is computed is what the formulas say.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{apply, data, error, numbers, shape_of, write, write_as};
use wgpu_norm_tools::tier;

/// A file of this shape with numbers that change their signs.
fn tensor(folder: &Path, shape: &[usize]) -> String {
    let sizes: String = shape.iter().map(|size| format!("x{size}")).collect();
    let (name, count) = (format!("t{sizes}.npy"), shape.iter().product());
    let number = |index: usize| (index * 7919 % 101) as f32 / 10.0 - 3.0;
    let elements: Vec<u8> = (0..count).flat_map(|index| number(index).to_le_bytes()).collect();
    write_as(folder, &name, "<f4", shape, &elements);
    name
}

/// Index of an element along each axis.
fn index_of(mut place: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (axis, &size) in shape.iter().enumerate().rev() {
        index[axis] = place % size;
        place /= size;
    }
    index
}

/// Where an element's value lies in a list over these axes.
fn place_along(index: &[usize], shape: &[usize], axes: &[usize]) -> usize {
    axes.iter().fold(0, |place, &axis| place * shape[axis] + index[axis])
}

/// By the formula: a kind of norm over a set of axes, with scale and bias along `parameters`.
fn norm(
    kind: &str,
    x: &[f32],
    shape: &[usize],
    axes: &[usize],
    affine: Option<(&[f32], &[f32], &[usize])>,
) -> Vec<f64> {
    let kept: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
    let mut segments: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for place in 0..x.len() {
        segments.entry(place_along(&index_of(place, shape), shape, &kept)).or_default().push(place);
    }
    let mut y = vec![0.0; x.len()];
    for places in segments.values() {
        let n = places.len() as f64;
        let values = || places.iter().map(|&place| f64::from(x[place]));
        let mean = if matches!(kind, "layer" | "mvn") { values().sum::<f64>() / n } else { 0.0 };
        let squares: f64 = values().map(|value| (value - mean).powi(2)).sum();
        let divisor = match kind {
            "layer" => (squares / n + f64::from(1e-5_f32)).sqrt(),
            "mvn" => (squares / n).sqrt() + f64::from(1e-9_f32),
            "rms" => (squares / n + f64::from(f32::EPSILON)).sqrt(),
            _ => squares.sqrt().max(1e-12),
        };
        for &place in places {
            y[place] = (f64::from(x[place]) - mean) / divisor;
            if let Some((scale, bias, along)) = affine {
                let at = place_along(&index_of(place, shape), shape, along);
                y[place] = y[place] * f64::from(scale[at]) + f64::from(bias[at]);
            }
        }
    }
    y
}

fn assert_near(actual: &[f32], expected: &[f64], what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0, |scale: f64, value| scale.max(value.abs()));
    for (at, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(actual) - expected).abs();
        assert!(error <= 1e-6 * scale, "{what}: {actual} instead of {expected} at {at}");
    }
}

fn listed(axes: &[usize]) -> String {
    axes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// All sets of axes of a tensor of rank 5, and parameters along another set.
#[test]
fn any_set_of_axes_is_computed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let shape = [2, 3, 2, 3, 2];
    let x = tensor(path, &shape);
    let input = numbers(&path.join(&x));
    for set in tier::some(1..32_usize) {
        let of = |set: usize| (0..5).filter(|axis| set >> axis & 1 == 1).collect::<Vec<usize>>();
        let (axes, along) = (of(set), of(set * 11 % 32));
        for (number, kind) in ["layer", "mvn", "rms", "lp"].into_iter().enumerate() {
            for cpu in if (set + number) % 2 == 0 { &[true, false][..] } else { &[true] } {
                let line = format!("{kind} {x} y.npy --force --check --axes {}", listed(&axes));
                let output = apply(path, &line, *cpu);
                assert!(output.status.success(), "{line}: {}", error(&output));
                assert_near(&numbers(&path.join("y.npy")), &norm(kind, &input, &shape, &axes, None), &line);
                assert_eq!(shape_of(&path.join("y.npy")), shape, "{line}");
            }
            if kind == "lp" {
                continue;
            }
            // those of the kind, and along other axes
            for (along, option) in [(&axes, String::new()), (&along, format!(" --scale-axes {}", listed(&along)))] {
                if along.is_empty() {
                    continue;
                }
                let scale = tensor(path, &along.iter().map(|&axis| shape[axis]).collect::<Vec<_>>());
                let list = numbers(&path.join(&scale));
                let line = format!(
                    "{kind} {x} y.npy --force --check --axes {}{option} --scale {scale} --bias {scale}",
                    listed(&axes)
                );
                let output = apply(path, &line, set % 2 == 0);
                assert!(output.status.success(), "{line}: {}", error(&output));
                let expected = norm(kind, &input, &shape, &axes, Some((&list, &list, along)));
                assert_near(&numbers(&path.join("y.npy")), &expected, &line);
            }
        }
    }
}

/// What goes with a tensor whose axes are walked in another order: sums, statistics, scales of rows, operands.
#[test]
fn all_that_is_written_has_the_axes_of_the_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let shape = [2, 3, 2, 3];
    let (x, gate) = (tensor(path, &shape), tensor(path, &[3, 1, 3]));
    let (input, gates) = (numbers(&path.join(&x)), numbers(&path.join(&gate)));
    let sum: Vec<f32> = (0..input.len())
        .map(|place| input[place] * gates[place_along(&index_of(place, &shape), &shape, &[1, 3])] + input[place])
        .collect();
    for cpu in [false, true] {
        let around = format!("--gate {gate} --residual {x} --sum-out s.npy");
        let statistics = "--mean-out m.npy --rstd-out r.npy";
        let line = format!("layer {x} y.npy --force --check --axes 0,2 {around} {statistics}");
        let output = apply(path, &line, cpu);
        assert!(output.status.success(), "{line}: {}", error(&output));
        assert_near(&numbers(&path.join("y.npy")), &norm("layer", &sum, &shape, &[0, 2], None), &line);
        let wide: Vec<f64> = sum.iter().copied().map(f64::from).collect();
        assert_near(&numbers(&path.join("s.npy")), &wide, "sum");
        let mut means = vec![0.0; 9];
        for (place, value) in wide.iter().enumerate() {
            means[place_along(&index_of(place, &shape), &shape, &[1, 3])] += value / 4.0;
        }
        assert_near(&numbers(&path.join("m.npy")), &means, "mean");
        assert_eq!(shape_of(&path.join("m.npy")), [1, 3, 1, 3]);

        // a byte is the nearest multiple of the scale of its row
        let line = format!("mvn {x} q.npy --force --check --axes 0,2 --quantize int8 --scales-out scales.npy");
        let output = apply(path, &line, cpu);
        assert!(output.status.success(), "{line}: {}", error(&output));
        let scales = numbers(&path.join("scales.npy"));
        assert_eq!(shape_of(&path.join("scales.npy")), [2, 3, 2]);
        let expected = norm("mvn", &input, &shape, &[0, 2], None);
        for (at, (&byte, expected)) in data(&path.join("q.npy")).1.iter().zip(expected).enumerate() {
            let (scale, number) = (f64::from(scales[at / 3]), f64::from(byte as i8));
            assert!((number * scale - expected).abs() <= 0.51 * scale, "{line}: {number} at {at}");
        }
    }
}

#[test]
fn grouped_rms_has_statistics_a_group_and_a_scale_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (x, scale) = (tensor(path, &[5, 12]), tensor(path, &[12]));
    let (input, list) = (numbers(&path.join(&x)), numbers(&path.join(&scale)));
    for groups in [1, 3, 4, 12] {
        let split = [5, groups, 12 / groups];
        let expected = norm("rms", &input, &split, &[2], Some((&list, &[0.0; 12], &[1, 2])));
        for cpu in [false, true] {
            let line = format!("rms {x} y.npy --force --check --groups {groups} --scale {scale} --activation identity");
            let output = apply(path, &line, cpu);
            assert!(output.status.success(), "{line}: {}", error(&output));
            assert_near(&numbers(&path.join("y.npy")), &expected, &line);
            assert_eq!(shape_of(&path.join("y.npy")), [5, 12], "{line}");
        }
    }
}

/// A negative axis is the one that it counts to from the end.
#[test]
fn axes_count_from_the_end_and_come_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write(path, "x.npy", &[2, 4, 3]);
    write(path, "3.npy", &[3]);
    write(path, "2x3.npy", &[2, 3]);
    for (first, second) in [
        ("weight x.npy y.npy --g 3.npy --dim -1", "weight x.npy y.npy --g 3.npy --dim 2"),
        ("spectral x.npy y.npy --dim -2", "spectral x.npy y.npy --dim 1"),
        ("layer x.npy y.npy --axes -1,0", "layer x.npy y.npy --axes 0,2"),
        ("mvn x.npy y.npy --axes 2,0", "mvn x.npy y.npy --axes 0,2"),
        ("rms x.npy y.npy --axes -2..", "rms x.npy y.npy --axes 1,2"),
        ("lp x.npy y.npy --axes -3..-1", "lp x.npy y.npy --axes 0,1"),
        ("rms x.npy y.npy --scale 2x3.npy --scale-axes -1,0", "rms x.npy y.npy --scale 2x3.npy --scale-axes 0,2"),
        ("lp x.npy y.npy --eps -0", "lp x.npy y.npy --eps 0"),
    ] {
        for cpu in [false, true] {
            let [first, second] = [first, second].map(|line| {
                let output = apply(path, &format!("{line} --force --check"), cpu);
                assert!(output.status.success(), "{line}: {}", error(&output));
                numbers(&path.join("y.npy"))
            });
            assert_eq!(first, second);
        }
    }
}

/// Statistics of no element are 0 / 0.
#[test]
fn empty_segments_have_no_statistics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write(path, "x.npy", &[2, 0]);
    for cpu in [false, true] {
        let output = apply(path, "layer x.npy y.npy --force --mean-out m.npy --rstd-out r.npy", cpu);
        assert!(output.status.success(), "{}", error(&output));
        for name in ["m.npy", "r.npy"] {
            let list = numbers(&path.join(name));
            assert!(list.len() == 2 && list.iter().all(|number| number.is_nan()), "{name} {list:?}");
        }
    }
    write(path, "w.npy", &[0, 3]);
    for cpu in [false, true] {
        assert!(apply(path, "spectral w.npy y.npy --force", cpu).status.success());
    }
}
