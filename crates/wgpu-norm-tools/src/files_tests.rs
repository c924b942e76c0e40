use super::*;
use crate::output::Target;

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
    for extension in ["npy", "safetensors"] {
        for shape in cases {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(format!("x.{extension}"));
            let data: Vec<f32> = (0..element_count(shape).unwrap()).map(|i| i as f32 - 0.5).collect();
            Target::new(&path, false, &[])
                .unwrap()
                .part_of_tensor("a \"name\"", shape, &data)
                .unwrap()
                .finish()
                .unwrap();
            let file = TensorFile::open(&TensorSpec { path, name: None }, "").unwrap();
            assert_eq!(file.shape(), *shape, "{extension}");
            assert_eq!(file.read().unwrap(), data, "{extension} {shape:?}");
        }
    }
}

#[test]
fn our_safetensors_are_read_by_the_crate() {
    let header = safetensors_file::header("x", &[2]).unwrap();
    let bytes = [header, vec![0; 8]].concat();
    assert_eq!(safetensors::SafeTensors::deserialize(&bytes).unwrap().tensor("x").unwrap().shape(), [2]);
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
        (npy("<f8", "(1,)"), "element type <f8 (float64) is not supported"),
        (npy("<f2", "(4,)"), "<f2 (float16)"),
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
        (one("F64", "[1]", 8), None, "element type F64 of tensor 'a' is not supported"),
        (one("BF16", "[4]", 8), None, "element type BF16"),
        (one("F16", "[2, 2]", 8), None, "element type F16"),
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
