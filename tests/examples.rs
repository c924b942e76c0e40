//! The examples compute what they claim.

#![allow(dead_code, reason = "a test calls what an example computes, not its main function")]
#![allow(clippy::duplicate_mod, reason = "each example brings the module that they share along")]

#[path = "../examples/colour_transfer.rs"]
mod colour_transfer;
#[path = "../examples/equivalences.rs"]
mod equivalences;
#[path = "../examples/four_norms.rs"]
mod four_norms;
#[path = "../examples/perceptron.rs"]
mod perceptron;
#[path = "../examples/running_statistics.rs"]
mod running_statistics;
#[path = "../examples/transformer_block.rs"]
mod transformer_block;

use approx::assert_abs_diff_eq;

#[test]
fn four_norms_bring_their_segments_to_mean_0_and_deviation_1() {
    let rows = four_norms::measure().unwrap();
    let expected = [("Batch", 64), ("Layer", 8), ("Instance", 512), ("Group, 2 groups", 16), ("Group, 4 groups", 32)];
    assert_eq!(rows.iter().map(|row| (row.name, row.segments.len())).collect::<Vec<_>>(), expected);
    for row in rows {
        let (low, high) = row.deviations();
        assert!(row.largest_mean() < 1e-6, "{}: mean {}", row.name, row.largest_mean());
        assert!(low > 1.0 - 1e-6 && high < 1.0 + 1e-6, "{}: deviation {low} to {high}", row.name);
        assert!(row.error < 3e-6, "{}: {} off the reference", row.name, row.error);
        assert!(!row.kernels.is_empty(), "{}: no kernel", row.name);
    }
}

#[test]
fn running_statistics_converge_to_theory() {
    for o in running_statistics::measure().unwrap() {
        for c in 0..4 {
            let deviation = o.theory.spread[c];
            let name = format!("{}, channel {c}", o.name);
            assert!((o.running.mean[c] - o.reference.mean[c]).abs() < 1e-5, "{name}: {:?}", o.running);
            let off = (o.running.spread[c] - o.reference.spread[c]).abs();
            assert!(off < 1e-5 * deviation.powi(2), "{name}: {:?}", o.running);
            // four times the standard errors of an estimate from 1000 batches with these weights: 1/30 of a batch's own
            assert!((o.estimate.mean[c] - 0.5).abs() < 0.13 * deviation / 8f64.sqrt(), "{name}: {:?}", o.estimate);
            assert!((o.estimate.spread[c] / deviation - 1.0).abs() < 0.04, "{name}: {:?}", o.estimate);
            assert!((o.running.mean[c] - o.expected.mean[c]).abs() < 0.1 * deviation / 8f64.sqrt(), "{name}");
            assert!((o.running.spread[c] / o.expected.spread[c] - 1.0).abs() < 0.08, "{name}");
        }
        // 4000 values each; those of a sample of a batch are not independent
        let tolerance = if o.name == "Instance" { 1e-3 } else { 0.05 };
        for k in 0..8 {
            let name = format!("{}, sample {}, channel {}", o.name, k / 4, k % 4);
            assert!((o.output.mean[k] - o.output_theory.mean[k]).abs() < tolerance, "{name}: {:?}", o.output);
            assert!((o.output.spread[k] - o.output_theory.spread[k]).abs() < tolerance, "{name}: {:?}", o.output);
        }
    }
}

#[test]
fn norms_equal_their_formulas_and_one_another() {
    let table = equivalences::measure().unwrap();
    assert_eq!(table.len(), 10);
    for equivalence in table {
        let equivalences::Equivalence { left, right, difference } = equivalence;
        // the largest of 1.3 million values times its scale is about 20
        assert!(difference < 20.0 * 1e-6, "{left} = {right}: {difference}");
    }
}

#[test]
fn normalized_perceptrons_learn_faster() {
    let seeds = perceptron::measure().unwrap();
    let last = perceptron::KEPT - 1;
    let [none, batch, layer] = [0, 1, 2].map(|network| perceptron::mean_loss(&seeds, network, last));
    assert!(batch < none && layer < none, "mean final losses: none {none}, batch {batch}, layer {layer}");
    for (k, seed) in seeds.iter().enumerate() {
        for ((name, _), losses) in perceptron::NETWORKS.iter().zip(seed) {
            assert!(losses.is_sorted_by(|before, after| before > after), "seed {k}, {name}: {losses:?}");
        }
    }
}

#[test]
fn a_transformer_block_and_its_gradients_are_those_of_f64() {
    let (rows, kernels) = transformer_block::measure().unwrap();
    assert_eq!(rows.iter().map(|row| row.elements).collect::<Vec<_>>(), [96, 96, 16, 8, 8, 16]);
    for transformer_block::Row { name, scale, error, .. } in rows {
        assert!(scale > 0.1 && error < 1e-5 * scale.max(1.0), "{name}: {error} off, the largest is {scale}");
    }
    assert!(kernels.len() >= 8, "{kernels:?}");
}

#[test]
fn colours_are_those_of_the_style() {
    let [content, style] = colour_transfer::photographs().map(|path| colour_transfer::open(&path).unwrap());
    let result = colour_transfer::transfer(&content, &style).unwrap();
    let shown = colour_transfer::Lab::of(&result.picture());
    for (c, (mean, deviation)) in style.palette().into_iter().enumerate() {
        let (result, shown, before) = (result.palette()[c], shown.palette()[c], content.palette()[c]);
        assert_abs_diff_eq!(result.0, mean, epsilon = 1e-5);
        assert_abs_diff_eq!(result.1, deviation, epsilon = 1e-5);
        // what sRGB cuts off and rounds leaves the picture nearer to the style than to the content
        assert!((shown.0 - mean).abs() < 0.2 * (before.0 - mean).abs(), "channel {c}: {shown:?}, style {mean}");
    }
}

#[test]
fn oklab_is_oklab() {
    let cases = [
        ([0, 0, 0], [0.0, 0.0, 0.0]),
        ([255, 255, 255], [1.0, 0.0, 0.0]),
        ([255, 0, 0], [0.62796, 0.22486, 0.12585]),
        ([0, 255, 0], [0.86644, -0.23389, 0.17950]),
        ([0, 0, 255], [0.45201, -0.03246, -0.31153]),
    ];
    for (rgb, lab) in cases {
        let actual = colour_transfer::oklab_of_srgb(rgb);
        actual.iter().zip(lab).for_each(|(a, e)| assert_abs_diff_eq!(*a, e, epsilon = 2e-5));
    }
    for rgb in (0..=255).step_by(5).flat_map(|r| (0..=255).step_by(15).map(move |g| [r, g, 255 - r / 2])) {
        assert_eq!(colour_transfer::srgb_of_oklab(colour_transfer::oklab_of_srgb(rgb)), rgb);
    }
}
