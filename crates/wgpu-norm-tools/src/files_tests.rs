use super::*;
use crate::output::Target;

use Element::{Bf16, F16, F32};

/// A `.npy` file with this header text and these elements.
fn npy_bytes(text: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

fn npy_header(descr: &str, fortran: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
}

/// A `.safetensors` file with this header text and these elements.
fn safetensors_bytes(text: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

type Loaded = Result<(Vec<u64>, Vec<f32>), String>;

/// What comes out of a file of these bytes.
fn load(extension: &str, bytes: &[u8], name: Option<&str>) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("x.{extension}"));
    std::fs::write(&path, bytes).unwrap();
    let spec = TensorSpec { path, name: name.map(str::to_owned) };
    let file = TensorFile::open(&spec, "--tensor NAME").map_err(|error| error.to_string())?;
    let shape = file.shape().to_vec();
    Ok((shape, file.read().map_err(|error| error.to_string())?))
}

#[test]
fn tensors_survive_a_round_trip() {
    let cases: &[&[u64]] = &[&[], &[0], &[1], &[3], &[2, 3], &[2, 0, 5], &[1, 2, 3, 1, 2, 1, 1, 2]];
    let types = [("npy", F32), ("npy", F16), ("safetensors", F32), ("safetensors", F16), ("safetensors", Bf16)];
    for (extension, element) in types {
        for shape in cases {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(format!("x.{extension}"));
            let data: Vec<f32> = (0..element_count(shape).unwrap()).map(|i| i as f32 - 0.5).collect();
            let target = Target::new(&path, false, &[]).unwrap();
            target.check_element(element).unwrap();
            target.part_of_tensor("a \"name\"", shape, element, &data).unwrap().finish().unwrap();
            let file = TensorFile::open(&TensorSpec { path, name: None }, "").unwrap();
            assert_eq!((file.shape(), file.element()), (*shape, element), "{extension}");
            assert_eq!(file.read().unwrap(), data, "{extension} {element} {shape:?}");
        }
    }
}

#[test]
fn what_is_written_in_16_bits_is_rounded_to_the_nearest_and_ties_to_the_even_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = [1.0 + 1.0 / 2048.0, 1.0 + 3.0 / 2048.0, 1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, -65520.0, 1e-8];
    let expected = [
        (F16, [1.0, 1.0 + 1.0 / 512.0, 1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, f32::NEG_INFINITY, 0.0]),
        (Bf16, [1.0, 1.0, 1.0, 1.0 + 1.0 / 64.0, -65536.0, 1e-8]),
    ];
    for (element, expected) in expected {
        let path = folder.path().join(format!("{element}.safetensors"));
        let target = Target::new(&path, false, &[]).unwrap();
        target.part_of_tensor("x", &[6], element, &data).unwrap().finish().unwrap();
        let read = TensorFile::open(&TensorSpec { path, name: None }, "").unwrap().read().unwrap();
        assert_eq!(read[..5], expected[..5], "{element}");
        assert!((read[5] - expected[5]).abs() <= expected[5] / 256.0, "{element} {}", read[5]);
    }
}

#[test]
fn numpy_has_no_bf16() {
    let folder = tempfile::tempdir().unwrap();
    let target = Target::new(&folder.path().join("x.npy"), false, &[]).unwrap();
    let written = target.part_of_tensor("", &[1], Bf16, &[1.0]).err();
    for error in [target.check_element(Bf16).err(), written] {
        let error = error.unwrap().to_string();
        assert!(error.contains("x.npy: a .npy file cannot hold bf16; a .safetensors file can"), "{error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn floats_of_all_sizes_are_read() {
    let values = [1.5, -0.25, 65504.0, f32::INFINITY];
    let halves: Vec<u16> = vec![0x3e00, 0xb400, 0x7bff, 0x7c00];
    let wide = values.map(|value| f64::from(value) * (1.0 + 1e-9));
    let bytes = |big: bool| -> [Vec<u8>; 2] {
        let half = |h: &u16| if big { h.to_be_bytes() } else { h.to_le_bytes() };
        let double = |d: &f64| if big { d.to_be_bytes() } else { d.to_le_bytes() };
        [halves.iter().flat_map(half).collect(), wide.iter().flat_map(double).collect()]
    };
    for (order, big) in [("<", false), (">", true)] {
        for (size, data) in [2, 8].into_iter().zip(bytes(big)) {
            let file = npy_bytes(&npy_header(&format!("{order}f{size}"), "False", "(4,)"), &data);
            assert_eq!(load("npy", &file, None).unwrap(), (vec![4], values.to_vec()), "{order}f{size}");
        }
    }
    let transposed = npy_bytes(&npy_header("<f2", "True", "(2, 2)"), &bytes(false)[0]);
    assert_eq!(load("npy", &transposed, None).unwrap().1, [values[0], values[2], values[1], values[3]]);
    let upper: Vec<u8> = values.iter().flat_map(|value| value.to_bits().to_be_bytes()[..2].to_vec()).collect();
    let upper: Vec<u8> = upper.chunks(2).flat_map(|half| [half[1], half[0]]).collect();
    let of_bf16 = [1.5, -0.25, 65280.0, f32::INFINITY];
    let [half, double] = bytes(false);
    for (dtype, data, expected) in [("F16", half, values), ("F64", double, values), ("BF16", upper, of_bf16)] {
        let end = data.len();
        let info = format!(r#"{{"a":{{"dtype":"{dtype}","shape":[4],"data_offsets":[0,{end}]}}}}"#);
        let loaded = load("safetensors", &safetensors_bytes(&info, &data), None).unwrap();
        assert_eq!(loaded.1, expected, "{dtype}");
    }
}

#[test]
fn our_safetensors_are_read_by_the_crate() {
    let header = safetensors_file::header("x", &[4], safetensors::Dtype::BF16).unwrap();
    let bytes = [header, vec![0; 8]].concat();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("x").unwrap();
    assert_eq!((tensor.shape(), tensor.dtype()), (&[4][..], safetensors::Dtype::BF16));
}

#[test]
fn byte_order_and_axis_order_are_undone() {
    let values: Vec<f32> = (0..6).map(|i| i as f32).collect();
    let little: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let big: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes()).collect();
    let transposed = [0.0, 2.0, 4.0, 1.0, 3.0, 5.0];
    /// Type, Fortran order, shape, bytes, elements.
    type Case<'a> = (&'a str, &'a str, &'a str, &'a [u8], &'a [f32]);
    let cases: &[Case] = &[
        ("<f4", "False", "(2, 3)", &little, &values),
        (">f4", "False", "(2, 3)", &big, &values),
        ("<f4", "True", "(2, 3)", &little, &transposed),
        (">f4", "True", "(2, 3)", &big, &transposed),
        ("<f4", "True", "(6,)", &little, &values),
        ("<f4", "True", "(2, 1, 3)", &little, &transposed),
    ];
    for (descr, fortran, shape, bytes, expected) in cases {
        let (_, data) = load("npy", &npy_bytes(&npy_header(descr, fortran, shape), bytes), None).unwrap();
        assert_eq!(data, *expected, "{descr} {fortran} {shape}");
    }
    let empty = load("npy", &npy_bytes(&npy_header("<f4", "True", "(2, 0, 3)"), &[]), None).unwrap();
    assert_eq!(empty, (vec![2, 0, 3], vec![]));
}

#[test]
fn bad_npy_files_are_refused_by_name() {
    let good = npy_bytes(&npy_header("<f4", "False", "(2,)"), &[0; 8]);
    let npy = |descr: &str, shape: &str| npy_bytes(&npy_header(descr, "False", shape), &[0; 8]);
    let with_len = |version: u8, len: u32| {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        bytes.extend(len.to_le_bytes());
        bytes.extend([b' '; 100]);
        bytes
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "not a .npy file: it has 0 bytes"),
        (b"PK\x03\x04 an archive".to_vec(), "does not begin with"),
        (good[..9].to_vec(), "not a .npy file: it has 9 bytes"),
        (good[..20].to_vec(), "truncated: "),
        (good[..good.len() - 1].to_vec(), "truncated: "),
        ([good.clone(), vec![0]].concat(), "trailing bytes: "),
        (with_len(9, 4), "version 9.0"),
        (with_len(2, u32::MAX), "truncated: 4294967307 bytes by its header, 112 in the file"),
        (with_len(2, 100), "corrupt header: no dictionary of just descr, fortran_order and shape"),
        (with_len(2, 70_000), "truncated: "),
        (npy("<f16", "(1,)"), "element type <f16 (float128) is not supported"),
        (npy("<f8", "(2,)"), "truncated: "),
        (npy("<f2", "(3,)"), "trailing bytes: "),
        (npy("<V2", "(4,)"), "V2 (raw bytes)"),
        (npy("|O", "(1,)"), "pickled Python object"),
        (npy("<i4", "(2,)"), "<i4 (signed integer)"),
        (npy("|b1", "(8,)"), "|b1 (bool)"),
        (npy("<c8", "(1,)"), "complex"),
        (npy("<f4", "(3,)"), "truncated: "),
        (npy("<f4", "(1,)"), "trailing bytes: "),
        (npy("<f4", "(4294967296, 4294967296)"), "more elements than can be addressed"),
        (npy("<f4", "(4611686018427387903,)"), "more elements than can be addressed"),
        (npy("<f4", "(4611686018427387904,)"), "more elements than can be addressed"),
        (npy("<f4", "(99999999999999999999,)"), "corrupt header: dimension cannot be larger than u64"),
        (npy("<f4", "(-2,)"), "corrupt header: unexpected '-'"),
        (npy("<f4", "(0x10,)"), "corrupt header: unexpected 'x'"),
        (npy("<f4", "(0, 4294967296, 4294967296)"), "more elements than can be addressed"),
        (npy("<f3", "(2,)"), "corrupt header: invalid type string"),
        (npy("<f4", "2"), "no dictionary of just"),
        (npy("<f4", "(2)"), "corrupt header: could not parse"),
        (npy_bytes("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", &[0; 8]), "structured"),
        (npy_bytes("{'descr': '<f4', 'shape': (2,)}", &[0; 8]), "no dictionary of just"),
        (npy_bytes("{'descr': '<f4', 'more': 1}", &[0; 8]), "no dictionary of just"),
        (npy_bytes("{'descr': '<f4', 'more': True, 'shape': (2,)}", &[0; 8]), "missing key 'fortran_order'"),
        (npy_bytes("{'descr': '<f4", &[0; 8]), "corrupt header"),
        (npy_bytes("{'descr'", &[0; 8]), "no dictionary of just"),
        (npy_bytes("\u{e9}\u{e9}", &[0; 8]), "corrupt header: unexpected 'é'"),
        (npy_bytes("{'\\'': ((((", &[0; 8]), r"corrupt header: unexpected '\\'"),
        (npy_bytes(&"(".repeat(60_000), &[0; 8]), "no dictionary of just"),
        (npy("<f4", &format!("({})", "1,".repeat(20_000))), "trailing bytes: "),
        (npy_bytes(&format!("{}x", npy_header("<f4", "False", "(2,)")), &[0; 8]), "corrupt header: unexpected 'x'"),
    ];
    for (bytes, expected) in cases {
        let error = load("npy", &bytes, None).unwrap_err();
        assert!(error.contains(expected), "{error:?} should say {expected:?}");
    }
    let mut broken = good;
    broken[15] = 0xff;
    assert!(load("npy", &broken, None).unwrap_err().contains("corrupt header: invalid utf-8"));
}

#[test]
fn bad_safetensors_files_are_refused_by_name() {
    let info = |dtype: &str, shape: &str, start: u64, end: u64| {
        format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
    };
    let one = |dtype, shape, end| safetensors_bytes(&format!(r#"{{"a":{}}}"#, info(dtype, shape, 0, end)), &[0; 8]);
    let two = format!(r#"{{"a":{},"b":{}}}"#, info("F32", "[1]", 0, 4), info("F32", "[1]", 4, 8));
    let hole = format!(r#"{{"a":{},"b":{}}}"#, info("F32", "[1]", 0, 4), info("F32", "[1]", 5, 9));
    let overlap = format!(r#"{{"a":{},"b":{}}}"#, info("F32", "[1]", 0, 4), info("F32", "[1]", 0, 4));
    let good = one("F32", "[2]", 8);
    let cases: Vec<(Vec<u8>, Option<&str>, &str)> = vec![
        (vec![1, 2], None, "not a .safetensors file: it has 2 bytes"),
        (u64::MAX.to_le_bytes().to_vec(), None, "a header of 18446744073709551615 bytes"),
        (1000u64.to_le_bytes().to_vec(), None, "truncated: 1008 bytes by its header, 8 in the file"),
        (good[..good.len() - 1].to_vec(), None, "truncated: "),
        ([good.clone(), vec![0]].concat(), None, "trailing bytes: "),
        (safetensors_bytes("not json", &[]), None, "corrupt header: "),
        (safetensors_bytes(&"[".repeat(50_000), &[]), None, "corrupt header: "),
        (safetensors_bytes("{\"a\": 3}", &[]), None, "corrupt header: "),
        (safetensors_bytes("{}", &[]), None, "no tensor"),
        (safetensors_bytes(&hole, &[0; 9]), None, "corrupt header: "),
        (safetensors_bytes(&overlap, &[0; 4]), None, "corrupt header: "),
        (one("F32", "[3]", 8), None, "corrupt header: "),
        (one("F32", "[4294967296, 4294967296, 4294967296]", 8), None, "corrupt header: overflow"),
        (one("F32", "[99999999999999999999]", 8), None, "corrupt header: "),
        (one("I64", "[1]", 8), None, "element type I64 of tensor 'a' is not supported, only floats of 16, 32 and 64"),
        (one("F8_E4M3", "[8]", 8), None, "element type F8_E4M3"),
        (one("F64", "[2]", 8), None, "corrupt header: "),
        (one("F99", "[2, 2]", 8), None, "corrupt header: unknown variant"),
        (safetensors_bytes(&two, &[0; 8]), None, "several tensors, name one with --tensor NAME: a, b"),
        (safetensors_bytes(&two, &[0; 8]), Some("c"), "no tensor 'c'; it holds a, b"),
    ];
    for (bytes, name, expected) in cases {
        let error = load("safetensors", &bytes, name).unwrap_err();
        assert!(error.contains(expected), "{error:?} should say {expected:?}");
    }
    let mut data = [0u8; 8];
    data[4..].copy_from_slice(&2.5f32.to_le_bytes());
    assert_eq!(load("safetensors", &safetensors_bytes(&two, &data), Some("b")).unwrap().1, [2.5]);
}

#[test]
fn files_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("folder.npy")).unwrap();
    for (name, expected) in
        [("none.npy", "No such file"), ("folder.npy", "not a regular file"), ("x.npz", "unknown kind of file")]
    {
        let spec = TensorSpec { path: folder.path().join(name), name: None };
        let error = TensorFile::open(&spec, "").unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} should say {expected:?}");
    }
    assert!(load("npy", &npy_bytes(&npy_header("<f4", "False", "()"), &[0; 4]), Some("a")).is_err());
}

#[test]
fn specs_may_name_a_tensor() {
    let cases: &[(&str, &str, Option<&str>)] = &[
        ("x.npy", "x.npy", None),
        ("x.safetensors", "x.safetensors", None),
        ("a/x.safetensors:gn.weight", "a/x.safetensors", Some("gn.weight")),
        ("x.safetensors:a:b", "x.safetensors", Some("a:b")),
        ("C:\\x.npy", "C:\\x.npy", None),
    ];
    for (text, path, name) in cases {
        let spec = TensorSpec::from(OsString::from(text));
        assert_eq!((spec.path.as_path(), spec.name.as_deref()), (Path::new(path), *name), "{text}");
    }
}
