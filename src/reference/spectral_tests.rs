use super::*;

fn run<T: Copy + Into<f64>>(s: &SpectralReference<T>) -> SpectralOutput {
    spectral(s).unwrap()
}

#[track_caller]
fn assert_close(name: &str, actual: &[f64], expected: &[f64]) {
    let same = |(a, e): (&f64, &f64)| (a.is_nan() && e.is_nan()) || (a - e).abs() <= 1e-9;
    let is_close = actual.len() == expected.len() && actual.iter().zip(expected).all(same);
    assert!(is_close, "{name}: {actual:?}, expected {expected:?}");
}

#[test]
fn power_iterations_by_hand() {
    use SpectralOrder::{UThenV, VThenU};
    // W (1, 0) = (3, 4) and W^T (1, 0) = (3, 0).
    let weight = &[3.0, 0.0, 4.0, 5.0];
    let r5 = 5.0_f64.sqrt();
    type Case<'a> = (&'a str, SpectralOrder, u32, f32, [f64; 2], [f64; 2], f64);
    let cases: [Case; 4] = [
        ("evaluation", UThenV, 0, 1e-12, [1.0, 0.0], [1.0, 0.0], 3.0),
        // W^T (3, 4) = (25, 20), W (5, 4) = (15, 40).
        ("u then v", UThenV, 1, 1e-12, [0.6, 0.8], [5.0, 4.0].map(|x| x / 41.0_f64.sqrt()), 41.0_f64.sqrt()),
        ("v then u", VThenU, 1, 1e-12, [0.6, 0.8], [1.0, 0.0], 5.0),
        ("least norm", UThenV, 1, 10.0, [0.3, 0.4], [2.5 / 10.0, 2.0 / 10.0], 41.0 / 40.0),
    ];
    for (name, order, iterations, eps, u, v, sigma) in cases {
        let s = SpectralReference {
            weight,
            shape: &[2, 2],
            dim: 0,
            u: &[1.0, 0.0],
            v: &[1.0, 0.0],
            iterations,
            order,
            eps,
        };
        let actual = run(&s);
        assert_close(name, &actual.u, &u);
        assert_close(name, &actual.v, &v);
        assert_close(name, &[actual.sigma], &[sigma]);
        assert_close(name, &actual.output, &weight.map(|x| x / sigma));
    }
    // The singular values have the squares 45 and 5.
    for order in [UThenV, VThenU] {
        let (u, v) = (&[1.0, 0.0], &[1.0, 0.0]);
        let s = SpectralReference { weight, shape: &[2, 2], dim: 0, u, v, iterations: 50, order, eps: 1e-12 };
        assert_close("many", &[run(&s).sigma], &[3.0 * r5]);
    }
}

#[test]
fn the_rows_lie_along_dim() {
    let random = &mut fastrand::Rng::with_seed(5);
    // [2, 3, 2] with axis 1 first is [3, 2, 2].
    let weight: Vec<f64> = (0..12).map(|_| random.f64() - 0.5).collect();
    let moved: Vec<f64> = (0..12).map(|i| weight[i / 2 % 2 * 6 + i / 4 * 2 + i % 2]).collect();
    let (u, v) = (&[1.0, 2.0, 3.0], &[1.0, -1.0, 0.5, 2.0]);
    let new = |weight, shape, dim| SpectralReference {
        weight,
        shape,
        dim,
        u,
        v,
        iterations: 2,
        eps: 1e-12,
        ..Default::default()
    };
    let (inner, first) = (run(&new(&weight, &[2, 3, 2], 1)), run(&new(&moved, &[3, 4], 0)));
    assert_close("u", &inner.u, &first.u);
    assert_close("v", &inner.v, &first.v);
    assert_close("sigma", &[inner.sigma], &[first.sigma]);
}

#[test]
fn gradients_are_derivatives() {
    let random = &mut fastrand::Rng::with_seed(6);
    let mut vector = |len: usize| (0..len).map(|_| random.f64() - 0.5).collect::<Vec<_>>();
    let cases: [(&[u64], usize, usize, usize); 4] =
        [(&[3, 4], 0, 3, 4), (&[3, 4], 1, 4, 3), (&[2, 3, 2], 1, 3, 4), (&[5], 0, 0, 0)];
    for (shape, dim, rows, columns) in cases {
        for eps in [1e-12, 100.0] {
            let (u, v) = (vector(rows), vector(columns));
            let len = shape.iter().product::<u64>() as usize;
            let (weight, grad_output) = (vector(len), vector(len));
            // Without iterations u and v are constants, as they are for the gradient.
            let order = SpectralOrder::UThenV;
            let s = SpectralReference { weight: &weight, shape, dim, u: &u, v: &v, iterations: 0, order, eps };
            let gradient = spectral_backward(&s, &run(&s), &grad_output).unwrap();
            let derivative = |i: usize| {
                let loss = |step: f64| {
                    let mut moved = weight.clone();
                    moved[i] += step;
                    let output = run(&SpectralReference { weight: &moved, ..s }).output;
                    output.iter().zip(&grad_output).map(|(y, grad)| y * grad).sum::<f64>()
                };
                let central = |step: f64| (loss(step) - loss(-step)) / (2.0 * step);
                (4.0 * central(1e-5) - central(2e-5)) / 3.0
            };
            for (i, actual) in gradient.iter().enumerate() {
                let expected = derivative(i);
                let is_close = (actual - expected).abs() <= 1e-6 * (1.0 + expected.abs());
                assert!(is_close, "{shape:?}, dim {dim}, eps {eps}: {actual} at {i}, expected {expected}");
            }
        }
    }
}

#[test]
fn a_vector_is_divided_by_its_norm() {
    let cases = [
        ("norm", [3.0, 4.0], 1e-12, 5.0, [0.6, 0.8]),
        ("least norm", [3.0, 4.0], 10.0, 10.0, [0.3, 0.4]),
        ("zeros", [0.0, 0.0], 0.5, 0.5, [0.0, 0.0]),
        ("NaN", [f64::NAN, 0.0], 0.5, f64::NAN, [f64::NAN; 2]),
    ];
    for (name, weight, eps, sigma, output) in cases {
        let weight = &weight[..];
        let actual = run(&SpectralReference { weight, shape: &[2], iterations: 3, eps, ..Default::default() });
        assert_close(name, &[actual.sigma], &[sigma]);
        assert_close(name, &actual.output, &output);
        assert!(actual.u.is_empty() && actual.v.is_empty(), "{name}");
    }
}

#[test]
fn a_weight_of_zeros_gives_nan() {
    let (u, v) = (&[0.6, 0.8], &[1.0, 0.0]);
    let s =
        SpectralReference { weight: &[0.0; 4], shape: &[2, 2], u, v, iterations: 1, eps: 1e-12, ..Default::default() };
    let actual = run(&s);
    assert_eq!((&actual.u[..], &actual.v[..], actual.sigma), (&[0.0; 2][..], &[0.0; 2][..], 0.0));
    assert_close("output", &actual.output, &[f64::NAN; 4]);
    assert_close("gradient", &spectral_backward(&s, &actual, &[1.0; 4]).unwrap(), &[f64::NAN; 4]);
}

#[test]
fn mistakes_are_typed_errors() {
    use ReferenceError as E;
    let length = |operand, expected, actual| E::Length { operand, expected, actual };
    let two = &[1.0, 2.0][..];
    let new = |weight, shape, dim, u, v| SpectralReference { weight, shape, dim, u, v, ..Default::default() };
    let cases: [(SpectralReference, E); 6] = [
        (new(&[1.0], &[], 0, &[], &[]), E::RankTooLow { kind: "spectral", rank: 0, min: 1 }),
        (new(two, &[1, 2], 2, two, two), E::AxesOutOfRange { axes: vec![2], rank: 2 }),
        (new(two, &[2, 2], 0, two, two), length("weight", 4, 2)),
        (new(two, &[1, 2], 0, two, two), length("u", 1, 2)),
        (new(two, &[2, 1], 0, two, two), length("v", 1, 2)),
        (new(two, &[2], 0, two, two), length("u", 0, 2)),
    ];
    for (s, expected) in cases {
        assert_eq!(spectral(&s), Err(expected), "{s:?}");
    }
    let s = new(two, &[1, 2], 0, &[1.0], two);
    let normed = run(&s);
    assert_eq!(spectral_backward(&s, &normed, &[1.0]), Err(length("grad_output", 2, 1)));
    assert_eq!(spectral_backward(&s, &SpectralOutput::default(), two), Err(length("output", 2, 0)));
}
