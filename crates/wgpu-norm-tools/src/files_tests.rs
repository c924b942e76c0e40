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
    let file = TensorFile::open(&spec, &Prefix::default(), "--tensor NAME").map_err(|error| error.to_string())?;
    let shape = file.shape().to_vec();
    Ok((shape, file.read().map_err(|error| error.to_string())?))
}

#[test]
fn tensors_survive_a_round_trip() {
    let cases: &[&[u64]] = &[&[], &[0], &[1], &[3], &[2, 3], &[2, 0, 5], &[1, 2, 3, 1, 2, 1, 1, 2]];
    let types = [
        ("npy", F32),
        ("npy", F16),
        ("npz", F32),
        ("npz", F16),
        ("safetensors", F32),
        ("safetensors", F16),
        ("safetensors", Bf16),
    ];
    for (extension, element) in types {
        for shape in cases {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(format!("x.{extension}"));
            let data: Vec<f32> = (0..element_count(shape).unwrap()).map(|i| i as f32 - 0.5).collect();
            let target = Target::new(&path, None, false, &[]).unwrap();
            target.check_element(element).unwrap();
            target.part_of_tensor("a \"name\"", shape, element, &data).unwrap().finish().unwrap();
            let file = TensorFile::open(&TensorSpec { path, name: None }, &Prefix::default(), "").unwrap();
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
        let target = Target::new(&path, None, false, &[]).unwrap();
        target.part_of_tensor("x", &[6], element, &data).unwrap().finish().unwrap();
        let read = TensorFile::open(&TensorSpec { path, name: None }, &Prefix::default(), "").unwrap().read().unwrap();
        assert_eq!(read[..5], expected[..5], "{element}");
        assert!((read[5] - expected[5]).abs() <= expected[5] / 256.0, "{element} {}", read[5]);
    }
}

#[test]
fn numpy_has_no_bf16() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Target::new(&folder.path().join("x.npz"), None, false, &[]).unwrap();
    assert!(archive.check_element(Bf16).unwrap_err().to_string().contains("a .npz file cannot hold bf16"));
    let target = Target::new(&folder.path().join("x.npy"), None, false, &[]).unwrap();
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
        (vec![], "not a .npy file: it is empty"),
        (b"PK\x03\x04 an archive".to_vec(), "not a .npy file: it is a zip archive: unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\nsize 9\n".to_vec(), "it is a git LFS pointer to a file of 9"),
        (b"<html><body>Sign in".to_vec(), "it is an HTML page"),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c".to_vec(), "does not begin with \\x93NUMPY"),
        (b"\x02\0\0\0\0\0\0\0{}".to_vec(), "it is a .safetensors file: give it a name that ends in .safetensors"),
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
        (npy(">V2", "(4,)"), "V2 (raw bytes)"),
        (npy("|V1", "(8,)"), "V1 (raw bytes, as ml_dtypes writes floats of 8 bits)"),
        (npy("<V2", "(3,)"), "trailing bytes: "),
        (npy("|O", "(1,)"), "pickled Python object"),
        (
            npy("<i4", "(2,)"),
            "<i4 (signed integer) is not supported, only floats of 16, 32 and 64 bits are: convert it",
        ),
        (npy("=u2", "(4L,)"), "<u2 (unsigned integer)"),
        (npy("<i3", "(2,)"), "corrupt header: invalid type string"),
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
        (
            npy_bytes("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", &[0; 8]),
            "elements are records of [('a', '<f4')]: write one field alone",
        ),
        (npy_bytes("{'descr': '<f4', 'shape': (2,)}", &[0; 8]), "no dictionary of just"),
        (npy_bytes("{'descr': '<f4', 'more': 1}", &[0; 8]), "no dictionary of just"),
        (npy_bytes("{'descr': '<f4', 'more': True, 'shape': (2,)}", &[0; 8]), "missing key 'fortran_order'"),
        (npy("<f4", "(2Ll,)"), "corrupt header: unexpected 'l'"),
        (npy("<f4", "(2,)\r"), "corrupt header: it has \\r, as copying as text leaves it"),
        (npy("<f4", "(L,)"), "corrupt header: unexpected 'L'"),
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
        (vec![], None, "not a .safetensors file: it is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\nsize 9\n".to_vec(),
            None,
            "it is a git LFS pointer to a file of 9",
        ),
        (b"PK\x03\x04an archive".to_vec(), None, "it is a zip archive"),
        (b"Entry not found".to_vec(), None, "it is text that begins with \"Entry not found\""),
        (b"\x93NUMPY\x01\0v\0{'descr'".to_vec(), None, "it is a .npy file: give it a name that ends in .npy"),
        (b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0".to_vec(), None, "it is a GGUF model"),
        (0u64.to_le_bytes().to_vec(), None, "corrupt header: it is no JSON object"),
        ([&0u64.to_le_bytes()[..], b"{"].concat(), None, "corrupt header: it is no JSON object"),
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
        [("none.npy", "No such file"), ("folder.npy", "not a regular file"), ("none.dat", "No such file")]
    {
        let spec = TensorSpec { path: folder.path().join(name), name: None };
        let error = TensorFile::open(&spec, &Prefix::default(), "").err().unwrap().to_string();
        assert!(error.contains(expected), "{error:?} should say {expected:?}");
    }
    let npy = npy_bytes(&npy_header("<f4", "False", "()"), &[0; 4]);
    assert!(load("npy", &npy, Some("a")).is_err());
    let unknown = "unknown kind of file, .npy, .npz and .safetensors are supported; it is a .npy file: give it a name";
    assert!(load("dat", &npy, None).unwrap_err().contains(unknown));
    assert!(load("pt", b"PK\x03\x04", None).unwrap_err().contains("it is a zip archive"));
}

#[test]
fn headers_are_read_as_others_than_numpy_spell_them() {
    let values: Vec<f32> = (0..6).map(|i| i as f32 - 0.5).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    // Python 2 on Windows and elsewhere; other writers
    for (descr, shape) in [("<f4", "(2L, 3L)"), ("<f4", "(2L,3L,)"), ("=f4", "(2, 3)"), ("f4", "(2,3)")] {
        let loaded = load("npy", &npy_bytes(&npy_header(descr, "False", shape), &bytes), None);
        assert_eq!(loaded.unwrap(), (vec![2, 3], values.clone()), "{descr} {shape}");
    }
    // double quotes, keys in another order, much space, version 3
    let text = "{\"shape\":( 2 , 3 ) ,\"fortran_order\":False,\"descr\":\"<f4\"}   \n";
    assert_eq!(load("npy", &npy_bytes(text, &bytes), None).unwrap().0, [2, 3]);
    let mut third = b"\x93NUMPY\x03\x00".to_vec();
    third.extend((text.len() as u32).to_le_bytes());
    third.extend([text.as_bytes(), &bytes].concat());
    assert_eq!(load("npy", &third, None).unwrap().1, values);
    // ml_dtypes' bfloat16, which NumPy takes for raw bytes
    let halves = [0x3fc0u16, 0xbe80, 0x7f80].map(u16::to_le_bytes).concat();
    for descr in ["<V2", "|V2"] {
        let loaded = load("npy", &npy_bytes(&npy_header(descr, "False", "(3,)"), &halves), None);
        assert_eq!(loaded.unwrap().1, [1.5, -0.25, f32::INFINITY], "{descr}");
    }
}

#[test]
fn counters_are_read_in_every_type() {
    let folder = tempfile::tempdir().unwrap();
    let count = |name: &str, bytes: Vec<u8>| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        read_counter(&TensorSpec { path, name: None }, &Prefix::default()).map_err(|error| error.to_string())
    };
    let npy = |descr: &str, shape: &str, data: &[u8]| npy_bytes(&npy_header(descr, "False", shape), data);
    let int = |dtype: &str, shape: &str, data: &[u8]| {
        let end = data.len();
        let text = format!(r#"{{"n":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}"#);
        safetensors_bytes(&text, data)
    };
    let good = [
        ("x.npy", npy("<i8", "()", &7i64.to_le_bytes())),
        ("x.npy", npy(">i8", "()", &7i64.to_be_bytes())),
        ("x.npy", npy("<i4", "(1,)", &7i32.to_le_bytes())),
        ("x.npy", npy("<u2", "(1, 1)", &[7, 0])),
        ("x.npy", npy("|u1", "()", &[7])),
        ("x.npy", npy("<f8", "()", &7f64.to_le_bytes())),
        ("x.safetensors", int("I64", "[]", &7i64.to_le_bytes())),
        ("x.safetensors", int("I32", "[1]", &7i32.to_le_bytes())),
        ("x.safetensors", int("F32", "[]", &7f32.to_le_bytes())),
    ];
    for (name, bytes) in good {
        assert_eq!(count(name, bytes), Ok(7), "{name}");
    }
    let bad = [
        (npy("<i8", "(2,)", &[0; 16]), "a counter is one number, this has shape [2]"),
        (npy("<i8", "()", &(-7i64).to_le_bytes()), "a counter is a whole number within 0..=4294967294, got -7"),
        (npy("<i8", "()", &i64::from(u32::MAX).to_le_bytes()), "got 4294967295"),
        (npy("<f4", "()", &0.5f32.to_le_bytes()), "got 0.5"),
        (npy("<f4", "()", &f32::NAN.to_le_bytes()), "got NaN"),
        (npy("|b1", "()", &[1]), "|b1 (bool) is not supported"),
    ];
    for (bytes, expected) in bad {
        let error = count("x.npy", bytes).unwrap_err();
        assert!(error.contains(expected), "{error:?} should say {expected:?}");
    }
}

/// An archive of these members, as `method` compresses them.
fn npz(members: &[(&str, &[u8])], method: zip::CompressionMethod, large: bool) -> Vec<u8> {
    use std::io::Write;
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(method).large_file(large);
    for (name, bytes) in members {
        archive.start_file(*name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[test]
fn archives_are_read_member_by_member() {
    use zip::CompressionMethod::{Deflated, Stored};
    let values: Vec<f32> = (0..6).map(|i| i as f32).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let plain = npy_bytes(&npy_header("<f4", "False", "(2, 3)"), &bytes);
    let transposed = npy_bytes(&npy_header("<f4", "True", "(2, 3)"), &bytes);
    let members: [(&str, &[u8]); 3] = [("x.npy", &plain), ("model.w.npy", &transposed), ("notes.txt", b"text")];
    for (method, large) in [(Stored, false), (Stored, true), (Deflated, false), (Deflated, true)] {
        let archive = npz(&members, method, large);
        for (name, expected) in [("x", &values[..]), ("x.npy", &values), ("w", &[0.0, 2.0, 4.0, 1.0, 3.0, 5.0])] {
            assert_eq!(load("npz", &archive, Some(name)).unwrap().1, *expected, "{method:?} {name}");
        }
        assert_eq!(load("npz", &npz(&members[..1], method, large), None).unwrap().0, [2, 3]);
        let error = load("npz", &archive, None).unwrap_err();
        assert!(error.ends_with("several tensors, name one with --tensor NAME: model.w, x"), "{error}");
        let error = load("npz", &archive, Some("y")).unwrap_err();
        assert!(error.ends_with("no tensor 'y'; it holds model.w, x"), "{error}");
    }
}

#[test]
fn bad_archives_are_refused_by_name() {
    use zip::CompressionMethod::{Deflated, Stored};
    let npy = npy_bytes(&npy_header("<f4", "False", "(200,)"), &[0; 800]);
    let one = |method| npz(&[("x.npy", &npy)], method, false);
    let changed = |from: &[u8], at: &[u8], offset: usize, to: &[u8]| {
        // the list at the end counts
        let mut bytes = from.to_vec();
        let place = bytes.windows(at.len()).rposition(|window| window == at).unwrap() + offset;
        bytes[place..place + to.len()].copy_from_slice(to);
        bytes
    };
    let (stored, deflated) = (one(Stored), one(Deflated));
    let list = b"PK\x01\x02";
    let twice = changed(&npz(&[("x.npy", &npy), ("y.npy", &npy)], Stored, false), b"y.npy", 0, b"x");
    let damaged = {
        let mut bytes = stored.clone();
        let place = bytes.len() - 200;
        bytes[place] ^= 1;
        bytes
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "not a .npz file: it is empty"),
        (npy.clone(), "not a .npz file: it is a .npy file: give it a name that ends in .npy"),
        (b"\x01\x02".to_vec(), "it does not begin with PK"),
        (stored[..stored.len() / 2].to_vec(), "bytes the last ones may be missing"),
        (npz(&[("archive/data.pkl", b"x")], Stored, false), "it is a PyTorch checkpoint: load it with torch.load"),
        (npz(&[("a.txt", b"x")], Stored, false), "it is a zip archive: unpack it"),
        (npz(&[], Stored, false), "it holds no tensor"),
        (npz(&[("x.npy", b"text")], Stored, false), "not a .npy file: it is text"),
        (npz(&[("x.npy", &npy[..npy.len() - 4])], Stored, false), "truncated: "),
        (twice, "several members have the same name"),
        (changed(&stored, list, 8, &[1]), "'x.npy' is encrypted: unpack the archive with its password"),
        (changed(&deflated, list, 10, &[93]), "'x.npy' is compressed by zstd, members are stored or deflated"),
        (changed(&stored, list, 24, &[0xff; 3]), "'x.npy' is said to have 16777215 bytes, of "),
        (changed(&deflated, list, 24, &[0xff; 3]), "'x.npy' is said to have 16777215 bytes, of "),
        (damaged, "Invalid checksum"),
    ];
    for (bytes, expected) in cases {
        let error = load("npz", &bytes, None).unwrap_err();
        assert!(error.contains(expected), "{error:?} should say {expected:?}");
    }
}

#[test]
fn archives_of_numpy_are_read() {
    // numpy.savez_compressed(f, a=numpy.arange(3, dtype='f4')) of NumPy 2: a streamed member with zip64 sizes
    let loaded = load("npz", include_bytes!("../tests/data/savez_compressed.npz"), None).unwrap();
    assert_eq!(loaded, (vec![3], vec![0.0, 1.0, 2.0]));
    let loaded = load("npz", include_bytes!("../tests/data/savez.npz"), Some("arr_1")).unwrap();
    assert_eq!(loaded, (vec![2, 1], vec![0.5, -0.5]));
}

#[test]
fn specs_may_name_a_tensor() {
    let cases: &[(&str, &str, Option<&str>)] = &[
        ("x.npy", "x.npy", None),
        ("x.safetensors", "x.safetensors", None),
        ("a/x.safetensors:gn.weight", "a/x.safetensors", Some("gn.weight")),
        ("x.safetensors:a:b", "x.safetensors", Some("a:b")),
        ("x.npz", "x.npz", None),
        ("a.npz:b/x.npz:y", "a.npz:b/x.npz", Some("y")),
        ("a.safetensors:b/x.npz:y", "a.safetensors:b/x.npz", Some("y")),
        ("-", "-", None),
        ("C:\\x.npy", "C:\\x.npy", None),
    ];
    for (text, path, name) in cases {
        let spec = TensorSpec::from(OsString::from(text));
        assert_eq!((spec.path.as_path(), spec.name.as_deref()), (Path::new(path), *name), "{text}");
    }
}
