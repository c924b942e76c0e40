//! Devices with and without an engine.

use std::sync::{Mutex, Once};

use burn::tensor::wgpu::WgpuSetup;
use wgpu_norm_burn::{SetupError, register};

use crate::compare::*;
use crate::*;

static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Keeper;

impl log::Log for Keeper {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record) {
        if self.enabled(record.metadata()) {
            WARNINGS.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

fn keep_warnings() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Keeper).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
    });
}

fn warnings(about: &Device) -> usize {
    let name = format!("{about:?}");
    WARNINGS.lock().unwrap().iter().filter(|text| text.contains("Burn's own norms") && text.contains(&name)).count()
}

/// Another device of Burn's on the same handles, which has no engine of its own.
fn another() -> (Device, &'static WgpuSetup) {
    let (_, setup) = setup();
    (Device::wgpu_options().setup(setup.clone()).init().unwrap(), setup)
}

/// Burn's own norms run, with one warning, until the device is registered.
#[test]
fn falls_back() {
    keep_warnings();
    let (device, setup) = another();
    let values = random([4, 6], &self::device()).into_data();
    let x = Tensor::<2>::from_data(values, &device);
    let parameters = [(); 2].map(|()| Tensor::ones([6], &device));
    let theirs = numbers(&theirs::layer(parameters.clone(), 1e-5, true).forward(x.clone()));
    let norm = ours::layer(parameters, 1e-5, true);
    for _ in 0..3 {
        assert_eq!(numbers(&norm.forward(x.clone())), theirs, "the same operators");
    }
    assert_eq!(warnings(&device), 1);
    let activated = wgpu_norm_burn::norm_activation(&norm, x.clone(), wgpu_norm_burn::Activation::Silu);
    let expected = burn::tensor::activation::silu(norm.forward(x.clone()));
    assert_eq!(numbers(&activated), numbers(&expected));
    let (normalized, sum) = wgpu_norm_burn::add_norm(&norm, x.clone(), x.clone());
    assert_eq!(numbers(&sum), numbers(&(x.clone() + x.clone())));
    close("a norm of a sum", &numbers(&normalized), &numbers(&norm.forward(sum)), 1e-6);

    register(&device, setup).unwrap();
    register(&device, setup).expect("a second time changes nothing");
    close("registered", &numbers(&norm.forward(x)), &theirs, 1e-5);
    assert_eq!(warnings(&device), 1, "the engine runs now");
}

/// Batch norm trains without an engine too, running statistics included.
#[test]
fn falls_back_in_training() {
    keep_warnings();
    let device = another().0.autodiff();
    let parameters = [(); 2].map(|()| Tensor::ones([3], &device));
    let (ours, theirs) = (ours::batch(parameters.clone(), 1e-5), theirs::batch(parameters, 1e-5));
    let x = random([4, 3, 5], &device);
    assert_eq!(numbers(&ours.forward(x.clone())), numbers(&theirs.forward(x)));
    assert_eq!(numbers(&ours.running_var.value_sync()), numbers(&theirs.running_var.value_sync()));
}

/// The setup has to be the device's own.
#[test]
fn foreign_setups() {
    let (device, setup) = another();
    let descriptor =
        wgpu_norm_burn::wgpu::DeviceDescriptor { required_limits: setup.adapter.limits(), ..Default::default() };
    let made = burn_cubecl::cubecl::future::block_on(setup.adapter.request_device(&descriptor)).unwrap();
    let foreign = WgpuSetup { device: made.0, queue: made.1, ..setup.clone() };
    match register(&device, &foreign) {
        Err(error @ SetupError::ForeignSetup { .. }) => assert!(error.to_string().contains("init_with_setup")),
        other => panic!("{other:?}"),
    }
    register(&device, setup).expect("the right one, afterwards");
}

/// A type that the engine has not: Burn's operators, and a warning that names it.
#[test]
fn types_that_burn_alone_has() {
    keep_warnings();
    let device = device();
    if !device.supports_dtype(burn::tensor::DType::F64) {
        println!("the adapter has no f64");
        return;
    }
    let x = random([4, 6], &device).cast(burn::tensor::FloatDType::F64);
    let parameters = [(); 2].map(|()| Tensor::<1>::ones([6], &device).cast(burn::tensor::FloatDType::F64));
    let theirs = theirs::layer(parameters.clone(), 1e-5, true).forward(x.clone());
    assert_eq!(numbers(&ours::layer(parameters, 1e-5, true).forward(x)), numbers(&theirs));
    assert!(WARNINGS.lock().unwrap().iter().any(|text| text.contains("F64")));
}
