//! Mistakes panic, as in Burn, with the numbers in the words.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wgpu_norm_burn::*;

use crate::*;

fn words<T>(mistake: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(mistake)).err().expect("a panic");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string())).expect("words")
}

#[test]
fn shapes() {
    let device = &device();
    let x = || random([2, 5], device);
    let y = || random([2, 5, 3], device);
    let group = |groups, channels| GroupNormConfig::new(groups, channels).init(device);
    let torn = GroupNorm { gamma: None, ..group(1, 5) };
    let uneven = GroupNorm { num_groups: 3, ..group(1, 5) };
    let layer = LayerNormConfig::new(5).init(device);
    let cases = [
        (words(|| LayerNormConfig::new(4).init(device).forward(x())), "LayerNorm: made for 4 features", "[2, 5]"),
        (words(|| RmsNormConfig::new(6).init(device).forward(y())), "RmsNorm: made for 6 features", "[2, 5, 3]"),
        (words(|| group(2, 4).forward(y())), "GroupNorm: made for 4 channels", "[2, 5, 3]"),
        (words(|| InstanceNormConfig::new(3).init(device).forward(y())), "InstanceNorm: made for 3", "[2, 5, 3]"),
        (words(|| BatchNormConfig::new(2).init(device).forward(x())), "BatchNorm: made for 2 channels", "[2, 5]"),
        (words(|| InstanceNormConfig::new(5).init(device).forward(random([5], device))), "second axis", "[5]"),
        (words(|| group(2, 5)), "2 groups", "5 channels"),
        (words(|| group(0, 5)), "0 groups", "5 channels"),
        (words(|| uneven.forward(y())), "3 groups", "5 channels"),
        (words(|| torn.forward(y())), "GroupNorm", "gamma or beta is missing"),
        (words(|| add_norm(&layer, x(), random([1, 5], device))), "input is [2, 5]", "residual [1, 5]"),
        (words(|| RmsNormConfig::new(2).with_epsilon(0.0).init(device)), "epsilon", "is 0"),
        (words(|| BatchNormConfig::new(0).init(device)), "num_features", "zero"),
        (words(|| BatchNormConfig::new(2).with_epsilon(f64::NAN).init(device)), "epsilon", "NaN"),
        (words(|| BatchNormConfig::new(2).with_momentum(1.5).init(device)), "momentum", "1.5"),
    ];
    for (words, first, second) in cases {
        assert!(words.contains(first) && words.contains(second), "{words:?} has not {first:?} and {second:?}");
    }
}

/// After a mistake the device goes on.
#[test]
fn the_device_survives() {
    let device = device();
    words(|| LayerNormConfig::new(4).init(&device).forward(random([2, 5], &device)));
    let out = LayerNormConfig::new(5).init(&device).forward(random([2, 5], &device));
    assert!(numbers(&out).iter().all(|v| v.is_finite()));
}
