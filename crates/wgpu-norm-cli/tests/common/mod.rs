//! What the tests of `apply` share: files of numbers, runs of the program, what it says and writes.
#![allow(dead_code, reason = "each test uses some of it")]

use std::path::Path;
use std::process::{Command, Output};

/// Writes a `.npy` file of f32 with this shape.
pub fn write(folder: &Path, name: &str, shape: &[usize]) {
    let elements = (0..shape.iter().product()).flat_map(|index: usize| (index as f32 + 1.0).to_le_bytes());
    write_as(folder, name, "<f4", shape, &elements.collect::<Vec<u8>>());
}

/// Writes a `.npy` file of elements of this type and shape.
pub fn write_as(folder: &Path, name: &str, descr: &str, shape: &[usize], elements: &[u8]) {
    let sizes: String = shape.iter().map(|size| format!("{size},")).collect();
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(elements);
    std::fs::write(folder.join(name), bytes).unwrap();
}

pub fn apply(folder: &Path, arguments: &str, cpu: bool) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgpu-norm"));
    command.current_dir(folder).env("NODEVICE_SELECT", "1").arg("apply").args(arguments.split(' '));
    if cpu {
        command.arg("--cpu");
    }
    command.output().unwrap()
}

pub fn error(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().find(|line| line.starts_with("error: ")).unwrap_or(&text).to_owned()
}

/// The header of a `.npy` file, and the bytes of its elements.
pub fn data(path: &Path) -> (String, Vec<u8>) {
    let bytes = std::fs::read(path).unwrap();
    let end = bytes.iter().skip(10).position(|&byte| byte == b'\n').unwrap() + 11;
    (String::from_utf8_lossy(&bytes[10..end]).into_owned(), bytes[end..].to_vec())
}

/// The elements of a `.npy` file of f32.
pub fn numbers(path: &Path) -> Vec<f32> {
    data(path).1.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// The shape in the header of a `.npy` file.
pub fn shape_of(path: &Path) -> Vec<usize> {
    let header = data(path).0;
    let sizes = header.split_once('(').unwrap().1.split_once(')').unwrap().0;
    sizes.split(',').filter_map(|size| size.trim().parse().ok()).collect()
}
