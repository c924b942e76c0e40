//! 16-bit tensors, where the adapter has them. Of 8 elements or more: CubeCL 0.11 binds 4 of f16 as 8 bytes to a kernel
//! of its own that expects 16, and takes the device for lost.

use burn::backend::{Backend, Dispatch};
use burn::module::RunningState;
use burn::tensor::{DType, FloatDType};

use crate::compare::*;
use crate::*;

/// One rounding of the type, and what f32 leaves.
fn step_of(dtype: FloatDType) -> f32 {
    match dtype {
        FloatDType::F16 => 0.6 / 1024.0,
        _ => 0.6 / 128.0,
    }
}

/// Types that the device can at least store and convert.
fn types() -> Vec<FloatDType> {
    let stored = |dtype: DType| !Dispatch::dtype_usage(device().as_dispatch(), dtype).is_empty();
    let types = [FloatDType::F16, FloatDType::BF16].into_iter().filter(|dtype| stored((*dtype).into()));
    let types: Vec<_> = types.collect();
    println!("16-bit types of {:?}: {types:?}", device());
    types
}

/// Tensors and parameters of 16 bits: the result is that of f32, rounded once.
#[test]
fn all_of_one_type() {
    let device = device();
    for dtype in types() {
        for kind in [Kind::Layer, Kind::Rms, Kind::Group { groups: 2 }, Kind::Instance, Kind::Batch] {
            for shape in [[3, 8, 8], [5, 8, 7]] {
                // what the type holds
                let x = random(shape, &device).cast(dtype);
                let weights = random(shape, &device).cast(dtype);
                let parameters = [(); 2].map(|()| random([kind.parameters(&shape)], &device).cast(dtype));
                let wide = |tensor: Tensor<1>| tensor.cast(FloatDType::F32);
                let narrow = step(
                    &|x, parameters| {
                        let out = ours::forward(kind, 1e-5, x, parameters);
                        assert_eq!(out.dtype(), dtype.into(), "{kind:?}");
                        out
                    },
                    &x,
                    &parameters,
                    &weights,
                    [false; 3],
                );
                let exact = step(
                    &|x, parameters| theirs::forward(kind, 1e-5, x, parameters),
                    &x.cast(FloatDType::F32),
                    &parameters.map(wide),
                    &weights.cast(FloatDType::F32),
                    [false; 3],
                );
                agree(&format!("{dtype:?} {kind:?} of {shape:?}"), &narrow, &exact, step_of(dtype));
            }
        }
    }
}

/// Gradients of f16, which Burn's operators can multiply and add.
#[test]
fn gradients() {
    let device = device();
    for dtype in types().into_iter().filter(|dtype| device.supports_dtype(*dtype)) {
        for kind in [Kind::Layer, Kind::Rms, Kind::Group { groups: 2 }, Kind::Instance, Kind::Batch] {
            let shape = [3, 8, 8];
            let [x, weights] = [(); 2].map(|()| random(shape, &device).cast(dtype));
            let parameters = [(); 2].map(|()| random([kind.parameters(&shape)], &device).cast(dtype));
            let narrow = step(&|x, p| ours::forward(kind, 1e-5, x, p), &x, &parameters, &weights, ALL);
            let wide = |tensor: Tensor<1>| tensor.cast(FloatDType::F32);
            let exact = step(
                &|x, p| theirs::forward(kind, 1e-5, x, p),
                &x.cast(FloatDType::F32),
                &parameters.map(wide),
                &weights.cast(FloatDType::F32),
                ALL,
            );
            agree(&format!("{dtype:?} {kind:?}"), &narrow, &exact, 2.0 * step_of(dtype));
        }
    }
}

/// f16 whose squares overflow: Burn's RMS norm gives them too, as it widens; ours in one pass.
#[test]
fn squares_beyond_f16() {
    let device = device();
    for dtype in types() {
        let x = Tensor::<2>::from_data([[1000.0f32, -2000.0, 3000.0, 500.0]], &device).cast(dtype);
        let mut norm = wgpu_norm_burn::RmsNormConfig::new(4).init(&device);
        norm.gamma = norm.gamma.map(|gamma| gamma.cast(dtype));
        let expected = [0.529_813, -1.059_626, 1.589_438, 0.264_906];
        close(&format!("{dtype:?}"), &numbers(&norm.forward(x)), &expected, step_of(dtype));
    }
}

/// Parameters of f32 beside tensors of 16 bits.
#[test]
fn mixed() {
    let device = device();
    for dtype in types() {
        let x = random([5, 9], &device).cast(dtype);
        let parameters = [(); 2].map(|()| random([9], &device));
        let out = ours::layer(parameters.clone(), 1e-5, true).forward(x.clone());
        assert_eq!(out.dtype(), dtype.into());
        let exact = theirs::layer(parameters, 1e-5, true).forward(x.cast(FloatDType::F32));
        close(&format!("{dtype:?}"), &numbers(&out), &numbers(&exact), step_of(dtype));
    }
}

/// Running statistics keep their own type beside batches of 16 bits; those of f32 are not rounded to the batch's.
#[test]
fn running_statistics() {
    let device = device().autodiff();
    for dtype in types() {
        let x = random([4, 3, 8], &device).cast(dtype);
        for kept in [FloatDType::F32, dtype] {
            let parameters = || [Tensor::ones([3], &device), Tensor::zeros([3], &device)];
            let (mut ours, theirs) = (ours::batch(parameters(), 1e-5), theirs::batch(parameters(), 1e-5));
            ours.running_mean = RunningState::new(Tensor::<1>::zeros([3], &device).cast(kept));
            ours.running_var = RunningState::new(Tensor::<1>::ones([3], &device).cast(kept));
            ours.forward(x.clone());
            theirs.forward(x.clone().cast(FloatDType::F32));
            let tolerance = if kept == dtype { 2.0 * step_of(dtype) } else { 1e-5 };
            let states = [(&ours.running_mean, &theirs.running_mean), (&ours.running_var, &theirs.running_var)];
            for (ours, theirs) in states {
                let (ours, theirs) = (ours.value_sync(), theirs.value_sync());
                assert_eq!(ours.dtype(), kept.into());
                close(&format!("{dtype:?} into {kept:?}"), &numbers(&ours), &numbers(&theirs), tolerance);
            }
        }
    }
}

/// The kernels convert by integers: a tensor of bf16 that Burn's own operators cannot compute with (WGSL has no bf16)
/// is normalized as any other.
#[test]
fn bf16_that_burn_only_stores() {
    let device = device();
    for kind in [Kind::Layer, Kind::Rms, Kind::Group { groups: 2 }, Kind::Instance] {
        let shape = [3, 8, 7];
        let parameters = [(); 2].map(|()| random([kind.parameters(&shape)], &device));
        let narrow = random(shape, &device).into_data().convert_dtype(DType::BF16);
        let wide = Tensor::<3>::from_data(narrow.clone().convert_dtype(DType::F32), &device);
        let narrow = Tensor::<3>::from_data(narrow, (&device, DType::BF16));
        let out = ours::forward(kind, 1e-5, narrow, parameters.clone());
        assert_eq!(out.dtype(), DType::BF16);
        let exact = theirs::forward(kind, 1e-5, wide, parameters);
        close(&format!("{kind:?}"), &numbers(&out), &numbers(&exact), step_of(FloatDType::BF16));
    }
}
