//! The program's files from outside: what it reads and from where, what it leaves when it is refused, out of room, or
//! killed.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A `.npy` file.
fn npy(descr: &str, shape: &[usize], elements: &[u8]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size},")).collect();
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}\n");
    let start = [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes()].concat();
    [&start, header.as_bytes(), elements].concat()
}

/// A `.npy` file of f32.
fn floats(shape: &[usize]) -> Vec<u8> {
    let values = 0..shape.iter().product::<usize>();
    npy("<f4", shape, &values.flat_map(|index| (index as f32 + 1.0).to_le_bytes()).collect::<Vec<u8>>())
}

/// A `.safetensors` file: name, type, shape, bytes.
fn safetensors(tensors: &[(&str, &str, &str, &[u8])]) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let (start, end) = (data.len(), data.len() + bytes.len());
        entries.push(format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#));
        data.extend_from_slice(bytes);
    }
    let text = format!("{{{}}}", entries.join(","));
    [&(text.len() as u64).to_le_bytes(), text.as_bytes(), &data].concat()
}

/// The program with `apply` and these arguments, in a folder and without a desktop session.
fn command(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgpu-norm"));
    command.current_dir(folder).arg("apply").args(arguments.split(' ')).stdin(Stdio::null());
    command.env_remove("NODEVICE_SELECT").env_remove("XDG_RUNTIME_DIR");
    command
}

fn apply(folder: &Path, arguments: &str) -> Output {
    command(folder, arguments).output().unwrap()
}

/// The same with bytes on standard input.
fn piped(folder: &Path, arguments: &str, input: &[u8]) -> Output {
    let mut command = command(folder, arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(pipe.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| text(entry.unwrap().file_name().as_encoded_bytes())).collect();
    names.sort();
    names
}

#[test]
fn files_that_are_something_else_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("x.npy"), floats(&[2, 3])).unwrap();
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 438\n";
    let cases: [(&str, &[u8], &str); 9] = [
        ("w.safetensors", pointer, "it is a git LFS pointer to a file of 438 bytes: fetch that with `git lfs pull`"),
        ("w.npy", pointer, "it is a git LFS pointer"),
        ("w.npz", pointer, "it is a git LFS pointer"),
        ("w.safetensors", b"PK\x03\x04", "it is a zip archive"),
        ("w.npy", b"<!DOCTYPE html><html>", "it is an HTML page"),
        ("w.safetensors", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "it is a PyTorch checkpoint of before 1.6"),
        ("w.pt", b"\x80\x04\x95", "unknown kind of file, .npy, .npz and .safetensors are supported; it is a Python"),
        ("w.npy", &npy("<i4", &[3], &[0; 12]), "<i4 (signed integer) is not supported"),
        ("w.safetensors", b"{\"weight_map\": {}}", "it is the JSON index of a checkpoint in parts"),
    ];
    for (name, bytes, expected) in cases {
        std::fs::write(path.join(name), bytes).unwrap();
        for cpu in ["", " --cpu"] {
            let output = apply(path, &format!("layer x.npy y.npy --scale {name}{cpu}"));
            let error = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{name}: {error}");
            assert!(error.starts_with(&format!("error: {name}: ")) && error.contains(expected), "{name}: {error}");
        }
    }
    assert!(!path.join("y.npy").exists());
}

#[test]
fn tensors_come_from_archives_and_go_to_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("x.npy"), floats(&[2, 3])).unwrap();
    let output = apply(path, "layer x.npy y.npz --output-tensor features --cpu");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = apply(path, "layer x.npy y.npy --cpu");
    assert!(output.status.success(), "{}", text(&output.stderr));
    for (arguments, same) in [
        ("rms y.npz z.npy --force --cpu", "y.npy"),
        ("rms y.npz:features z.npy --force --cpu", "y.npy"),
        ("rms x.npy z.npy --residual y.npz:features --force --cpu", ""),
    ] {
        let output = apply(path, arguments);
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
        if !same.is_empty() {
            let of_plain = apply(path, &format!("rms {same} plain.npy --force --cpu"));
            assert!(of_plain.status.success());
            let [one, other] = ["z.npy", "plain.npy"].map(|name| std::fs::read(path.join(name)).unwrap());
            assert_eq!(one, other, "{arguments}");
        }
    }
    let output = apply(path, "layer x.npy bad.npz --output-tensor ../x --cpu");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("a tensor cannot be called \"../x\" in a .npz file"));
    assert!(!path.join("bad.npz").exists());
}

#[test]
fn tensors_come_from_a_pipe_and_go_to_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let x = floats(&[2, 3]);
    std::fs::write(path.join("x.npy"), &x).unwrap();
    let bytes: Vec<u8> = (1..=6).flat_map(|index| (index as f32).to_le_bytes()).collect();
    let half: Vec<u8> = (1..=6)
        .flat_map(|index| (index as f32).to_bits().to_be_bytes()[..2].iter().rev().copied().collect::<Vec<u8>>())
        .collect();
    let tensors = safetensors(&[("a", "F32", "[2,3]", &bytes), ("b", "BF16", "[2,3]", &half)]);
    for cpu in ["", " --cpu"] {
        assert!(apply(path, &format!("layer x.npy y.npy --force{cpu}")).status.success());
        let expected = std::fs::read(path.join("y.npy")).unwrap();
        for (arguments, input) in [("layer - -", &x), ("layer - - --tensor a", &tensors)] {
            let output = piped(path, &format!("{arguments}{cpu}"), input);
            assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
            assert!(output.stdout == expected, "{arguments}: {}", text(&output.stdout));
            assert!(text(&output.stderr).contains("wrote     -"), "{}", text(&output.stderr));
        }
        // one that has not the type, in the kind of file that has
        let output = piped(path, &format!("layer - - --tensor b --output-format safetensors{cpu}"), &tensors);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("BF16"), "{}", text(&output.stdout));
        let output = piped(path, &format!("layer x.npy y.npy --force --scale -{cpu}"), &floats(&[3]));
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let bad: [(&str, &[u8], &str); 6] = [
        ("layer - - --cpu", b"", "standard input: not a .safetensors file: it is empty"),
        ("layer - - --cpu --scale -", &x, "standard input: it holds one tensor, and another option reads it"),
        ("layer - - --cpu", &tensors, "standard input: several tensors, name one with --tensor NAME: a, b"),
        ("layer - - --cpu --tensor b", &tensors, "standard output: a .npy file cannot hold bf16"),
        ("layer - - --cpu --json", &x, "standard output has a tensor and takes no --json beside it"),
        ("layer - - --cpu --mean-out -", &x, "standard output: two outputs would go there"),
    ];
    for (arguments, input, expected) in bad {
        let output = piped(path, arguments, input);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments}");
        assert!(text(&output.stderr).contains(expected), "{arguments}: {}", text(&output.stderr));
    }
}

#[test]
fn names_are_found_behind_a_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("x.npy"), floats(&[4, 3])).unwrap();
    let numbers: Vec<u8> = [1f32, 2.0, 3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let counter = 7i32.to_le_bytes();
    let module = |prefix: &str| -> Vec<(String, &str, &str, &[u8])> {
        vec![
            (format!("{prefix}running_mean"), "F32", "[3]", &numbers),
            (format!("{prefix}running_var"), "F32", "[3]", &numbers),
            (format!("{prefix}num_batches_tracked"), "I32", "[1]", &counter),
        ]
    };
    let write = |name: &str, tensors: &[(String, &str, &str, &[u8])]| {
        let tensors: Vec<_> =
            tensors.iter().map(|(name, dtype, shape, data)| (name.as_str(), *dtype, *shape, *data)).collect();
        std::fs::write(path.join(name), safetensors(&tensors)).unwrap();
    };
    write("plain.safetensors", &module(""));
    write("one.safetensors", &module("module.bn."));
    write("two.safetensors", &[module("a."), module("b.")].concat());
    write("mixed.safetensors", &[&module("a.")[..1], &module("b.")[1..]].concat());
    let update = |file: &str| {
        format!(
            "batch x.npy y.npy --cpu --force --training --running-mean {file}.safetensors:running_mean --running-var \
             {file}.safetensors:running_var --batches {file}.safetensors:num_batches_tracked --momentum cumulative \
             --running-out s.safetensors"
        )
    };
    for (arguments, note) in [
        (update("plain"), ""),
        (update("one"), "note: one.safetensors: 'module.bn.running_mean' is taken for 'running_mean'"),
        (format!("{} --prefix module.bn.", update("one")), ""),
        (format!("{} --prefix b.", update("two")), ""),
    ] {
        let output = apply(path, &arguments);
        let said = text(&output.stderr);
        assert!(output.status.success() && said.contains(note), "{arguments}: {said}");
        assert!(!note.is_empty() || said.is_empty(), "{arguments}: {said}");
        let state = std::fs::read(path.join("s.safetensors")).unwrap();
        // eight batches now, and a mean of (7 * 1 + 5.5) / 8
        assert!(state.windows(8).any(|bytes| bytes == 8i64.to_le_bytes()), "{arguments}");
        assert!(state.windows(4).any(|bytes| bytes == 1.5625f32.to_le_bytes()), "{arguments}");
    }
    let bad = [
        (update("mixed"), "'running_var' is behind 'b.', another name behind 'a.': write whole names, or --prefix"),
        (
            update("two"),
            "no tensor 'num_batches_tracked', but several that end in it, choose with --prefix or the whole name: a.num",
        ),
        (format!("{} --prefix c.", update("two")), "no tensor 'c.num_batches_tracked'; it holds a.num_batches_tracked"),
        (
            update("plain").replace("--batches plain.safetensors:num_batches_tracked", "--batches x.npy"),
            "x.npy: a counter is one number, this has shape [4, 3]",
        ),
        (
            update("plain").replace("--batches plain.safetensors:num_batches_tracked", "--batches -3"),
            "-3 is no whole number within 0..=4294967294",
        ),
        (
            update("plain").replace("--batches plain.safetensors:num_batches_tracked", "--batches 4294967295"),
            "4294967295 is no whole number",
        ),
        (
            update("plain").replace("--running-out s.", "--running-out plain."),
            "the output is the input plain.safetensors",
        ),
    ];
    for (arguments, expected) in bad {
        let output = apply(path, &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        assert!(text(&output.stderr).contains(expected), "{arguments}: {}", text(&output.stderr));
    }
}

/// The device's limit is named by the header: to read such a file takes longer than this test.
#[test]
fn a_tensor_beyond_the_device_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let shape = [6 << 10, 1 << 18];
    let header = npy("<f4", &shape, &[]);
    let mut file = File::create(path.join("x.npy")).unwrap();
    file.write_all(&header).unwrap();
    // a hole: it takes no room
    file.set_len(header.len() as u64 + 4 * shape.iter().product::<usize>() as u64).unwrap();
    for norm in ["layer", "spectral"] {
        let start = Instant::now();
        let output = apply(path, &format!("{norm} x.npy y.npy"));
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        let (expected, limit) = ("needs a buffer of 6442450944 bytes, device ", "allows max_buffer_size of ");
        assert!(error.contains(expected) && error.contains(limit), "{error}");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
    assert_eq!(names(path), ["x.npy"]);
}

#[test]
fn nothing_is_said_where_all_is_well() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.npy"), floats(&[2, 3])).unwrap();
    let output = apply(folder.path(), "layer x.npy y.npy");
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_or_closed_standard_output_leaves_nothing_and_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("x.npy"), floats(&[64, 1024])).unwrap();
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    for arguments in
        ["layer x.npy y.npy --cpu", "layer x.npy y.npy --cpu --json", "layer x.npy - --cpu --mean-out y.npy"]
    {
        let output = command(path, arguments).stdout(full()).stderr(Stdio::piped()).output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {error}");
        assert!(error.contains("error: standard output: No space left on device"), "{arguments}: {error}");
        assert_eq!(names(path), ["x.npy"], "{arguments}");
    }
    // The report is nobody's business then, the file and the exit code are what they are. A tensor is lost.
    for (arguments, code, left) in [
        ("layer x.npy y.npy --cpu --force", 0, &["x.npy", "y.npy"][..]),
        ("layer x.npy - --cpu", 141, &["x.npy", "y.npy"]),
    ] {
        let mut command = command(path, arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("error"), "{arguments}: {}", text(&output.stderr));
        assert_eq!(names(path), left, "{arguments}");
    }
}

/// Ends with SIGKILL on Unix, which no program hears.
fn kill(mut child: Child) {
    drop(child.kill());
    child.wait().unwrap();
}

#[test]
fn killed_at_any_moment_it_leaves_the_old_file_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    // large enough that writing takes a part of the time
    std::fs::write(path.join("x.npy"), floats(&[512, 2048])).unwrap();
    let arguments = "lp x.npy y.npy --cpu --force --eps 1e-12";
    let run = || command(path, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    assert!(run().wait().unwrap().success());
    let whole = start.elapsed();
    let new = std::fs::read(path.join("y.npy")).unwrap();
    let old = b"what was there before".to_vec();
    std::fs::write(path.join("y.npy"), &old).unwrap();
    const MOMENTS: u32 = 60;
    let mut replaced = 0;
    for moment in 0..MOMENTS {
        let child = run();
        // from its start to somewhat behind its end
        std::thread::sleep(whole * moment * 5 / 4 / MOMENTS);
        kill(child);
        let mut found = Vec::new();
        File::open(path.join("y.npy")).unwrap().read_to_end(&mut found).unwrap();
        assert!(found == old || found == new, "{} bytes after moment {moment}", found.len());
        replaced += u32::from(found == new);
        std::fs::write(path.join("y.npy"), &old).unwrap();
        // what the last one left is there until the next one writes
        let names = names(path);
        assert!(names.len() <= 3, "{names:?}");
    }
    assert!(replaced < MOMENTS, "no moment was before the end");
    assert!(run().wait().unwrap().success());
    assert!(std::fs::read(path.join("y.npy")).unwrap() == new);
    assert_eq!(names(path), ["x.npy", "y.npy"]);
}
