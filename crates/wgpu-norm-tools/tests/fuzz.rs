//! Files that are not what they should be: whole ones, changed at a few places, to the readers of `.npy`, `.npz` and
//! `.safetensors` files and of checkpoints. No reader panics, and none takes memory for what a file only promises.
//!
//! `PROPTEST_CASES=1000000 cargo test --release -p wgpu-norm-tools --test fuzz` tries a million of each.

use std::io::{Cursor, Write};
use std::path::Path;

use peak_alloc::PeakAlloc;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wgpu_norm::{AbsentCounters, Affine, RunningStatistics, State, StateOptions, StatePrefix, StateSpec};
use wgpu_norm_tools::files::{Choice, Format, TensorFile};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Cases of each reader, unless the environment says otherwise.
const CASES: u32 = 20_000;

/// Memory that a reader may take beside the file: of a small one for its buffers, and of every byte for the numbers,
/// names and errors that come of it.
const BESIDE: usize = 200_000;
/// A byte of a deflated member is at most so many bytes of numbers of 16 bits, each of which is one of 32.
const EXPANSION: usize = 2 * 1032;

/// Numbers where lengths, sizes and offsets are, of a kind that is easily computed with wrongly.
const NUMBERS: [u64; 14] = [
    0,
    1,
    2,
    7,
    8,
    255,
    65_535,
    1 << 24,
    (1 << 31) - 1,
    u32::MAX as u64,
    1 << 32,
    (1 << 61) - 1,
    i64::MAX as u64,
    u64::MAX,
];

/// Words where text is.
const WORDS: [&str; 22] = [
    "<f4",
    ">f8",
    "<f2",
    "<V2",
    "=f4",
    "|b1",
    "[('a', '<f4')]",
    "True",
    "(",
    ")",
    "L",
    ",",
    "'",
    "\"",
    "\\",
    "{",
    "}",
    "-1",
    "F16",
    "BF16",
    "I64",
    "data_offsets",
];

/// A change of a file. Places are shares of its length, of which the beginning, where headers are, is met most.
#[derive(Clone, Debug)]
enum Change {
    Flip {
        at: f64,
        bit: u8,
    },
    Byte {
        at: f64,
        value: u8,
    },
    /// A number, the least significant byte first.
    Number {
        at: f64,
        value: u64,
        bytes: usize,
    },
    /// Digits are replaced by those of a number.
    Digits {
        which: usize,
        value: u64,
    },
    Word {
        at: f64,
        word: &'static str,
    },
    Cut {
        at: f64,
    },
    Remove {
        at: f64,
        len: usize,
    },
    Repeat {
        at: f64,
        len: usize,
    },
    Append {
        bytes: Vec<u8>,
    },
}

impl Change {
    fn make(&self, file: &mut Vec<u8>) {
        let len = file.len();
        let place = |at: f64| ((at * len as f64) as usize).min(len.saturating_sub(1));
        match self {
            _ if file.is_empty() => {}
            Self::Flip { at, bit } => file[place(*at)] ^= 1 << bit,
            Self::Byte { at, value } => file[place(*at)] = *value,
            Self::Number { at, value, bytes } => {
                let at = place(*at);
                for (to, from) in file[at..].iter_mut().zip(&value.to_le_bytes()[..*bytes]) {
                    *to = *from;
                }
            }
            Self::Digits { which, value } => {
                let starts = |at: &usize| file[*at].is_ascii_digit() && (*at == 0 || !file[at - 1].is_ascii_digit());
                let starts: Vec<usize> = (0..len).filter(starts).collect();
                if let Some(&start) = starts.get(which % starts.len().max(1)) {
                    let digits = file[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                    file.splice(start..start + digits, value.to_string().into_bytes());
                }
            }
            Self::Word { at, word } => drop(file.splice(place(*at)..place(*at), word.bytes())),
            Self::Cut { at } => file.truncate(place(*at)),
            Self::Remove { at, len } => drop(file.drain(place(*at)..(place(*at) + len).min(file.len()))),
            Self::Repeat { at, len } => {
                let part = file[place(*at)..(place(*at) + len).min(file.len())].to_vec();
                file.splice(place(*at)..place(*at), part);
            }
            Self::Append { bytes } => file.extend(bytes),
        }
    }
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    // squared: headers stand at the beginning; of archives also at the end
    let at = || prop_oneof![3 => (0.0..1.0f64).prop_map(|at| at * at), 1 => 0.0..1.0f64, 1 => 0.7..1.0f64];
    let number = || prop_oneof![prop::sample::select(&NUMBERS[..]), any::<u64>(), 0..300u64];
    let change = prop_oneof![
        (at(), 0..8u8).prop_map(|(at, bit)| Change::Flip { at, bit }),
        (at(), any::<u8>()).prop_map(|(at, value)| Change::Byte { at, value }),
        (at(), number(), prop::sample::select(&[1, 2, 4, 8][..])).prop_map(|(at, value, bytes)| Change::Number {
            at,
            value,
            bytes
        }),
        (any::<usize>(), number()).prop_map(|(which, value)| Change::Digits { which, value }),
        (at(), prop::sample::select(&WORDS[..])).prop_map(|(at, word)| Change::Word { at, word }),
        at().prop_map(|at| Change::Cut { at }),
        (at(), 1..40usize).prop_map(|(at, len)| Change::Remove { at, len }),
        (at(), 1..40usize).prop_map(|(at, len)| Change::Repeat { at, len }),
        prop::collection::vec(any::<u8>(), 1..20).prop_map(|bytes| Change::Append { bytes }),
    ];
    prop::collection::vec(change, 0..4)
}

/// A whole `.npy` file.
fn npy() -> impl Strategy<Value = Vec<u8>> {
    let descr = prop::sample::select(&["<f4", ">f4", "<f2", "<f8", "<V2", "=f2", "<i4"][..]);
    let (shape, fortran) = (prop::collection::vec(0..4usize, 0..4), any::<bool>());
    (descr, shape, fortran, any::<bool>(), any::<bool>()).prop_map(|(descr, shape, fortran, python_2, second)| {
        let long = if python_2 { "L" } else { "" };
        let sizes: String = shape.iter().map(|size| format!("{size}{long}, ")).collect();
        let fortran = if fortran { "True" } else { "False" };
        let text = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': ({sizes}), }}\n");
        let len = shape.iter().product::<usize>() * descr[2..].parse::<usize>().unwrap();
        let mut bytes = b"\x93NUMPY".to_vec();
        match second {
            true => bytes.extend([&[2, 0][..], &(text.len() as u32).to_le_bytes()].concat()),
            false => bytes.extend([&[1, 0][..], &(text.len() as u16).to_le_bytes()].concat()),
        }
        bytes.extend(text.bytes());
        bytes.extend((0..len).map(|index| index as u8));
        bytes
    })
}

/// A whole `.npz` file.
fn npz() -> impl Strategy<Value = Vec<u8>> {
    let member = (prop::sample::select(&["x", "model.x", "a/b", ""][..]), npy(), any::<bool>(), any::<bool>());
    prop::collection::vec(member, 0..3).prop_map(|members| {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (index, (name, bytes, deflated, large)) in members.iter().enumerate() {
            let method = if *deflated { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
            let options = zip::write::SimpleFileOptions::default().compression_method(method).large_file(*large);
            archive.start_file(format!("{name}{index}.npy"), options).unwrap();
            archive.write_all(bytes).unwrap();
        }
        archive.finish().unwrap().into_inner()
    })
}

/// A whole `.safetensors` file, of the tensors of a batch norm.
fn safetensors() -> impl Strategy<Value = Vec<u8>> {
    let float = prop::sample::select(&["F32", "F16", "BF16", "F64"][..]);
    let counter = prop::sample::select(&["I64", "I32", "F32", "U8"][..]);
    let prefix = prop::sample::select(&["", "module.", "model/bn1/"][..]);
    let options = (any::<bool>(), any::<bool>());
    (float, counter, prefix, prop::sample::select(&[0usize, 1, 2, 2, 2, 3][..]), options).prop_map(
        |(float, counter, prefix, channels, (counted, metadata))| {
            let bytes = |dtype: &str| match dtype {
                "F64" | "I64" => 8,
                "F32" | "I32" => 4,
                "U8" => 1,
                _ => 2,
            };
            let mut tensors = Vec::new();
            let mut offset = 0;
            let mut tensor = |name: &str, dtype: &str, shape: &str, len: usize| {
                let end = offset + len * bytes(dtype);
                tensors.push(format!(
                    r#""{prefix}{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{offset},{end}]}}"#
                ));
                offset = end;
            };
            for name in ["weight", "bias", "running_mean", "running_var"] {
                tensor(name, float, &format!("[{channels}]"), channels);
            }
            if counted {
                tensor("num_batches_tracked", counter, "[]", 1);
            }
            if metadata {
                tensors.push(r#""__metadata__":{"format":"pt"}"#.to_owned());
            }
            let text = format!("{{{}}}", tensors.join(","));
            let data = (0..offset).map(|index| index as u8);
            (text.len() as u64).to_le_bytes().into_iter().chain(text.bytes()).chain(data).collect()
        },
    )
}

/// Runs `read` over changed files. Whatever it does but panic is right, in little memory.
fn fuzz(name: &str, files: impl Strategy<Value = Vec<u8>>, expansion: usize, read: impl Fn(Vec<u8>) -> bool) {
    let cases = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default().cases,
        None => CASES,
    };
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let (mut good, mut all) = (0u32, 0u32);
    let counts = std::cell::RefCell::new((&mut good, &mut all));
    let checked = TestRunner::new(config).run(&(files, changes()), |(mut file, changes)| {
        changes.iter().for_each(|change| change.make(&mut file));
        let len = file.len();
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let read = read(file);
        let taken = MEMORY.peak_usage().saturating_sub(before);
        prop_assert!(taken <= BESIDE + expansion * len, "{taken} bytes of memory for a file of {len}");
        let mut counts = counts.borrow_mut();
        *counts.0 += u32::from(read);
        *counts.1 += 1;
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{name}: {error}"));
    println!("{name}: {all} files, {good} of them read");
    // neither all are refused at the door, nor are the changes without effect
    assert!(good > all / 20 && good < all - all / 20, "{name}: {good} of {all} files were read");
}

fn tensor(format: Format) -> impl Fn(Vec<u8>) -> bool {
    move |bytes| {
        let choices = [Choice::default(), Choice { name: Some("x0"), ..Choice::default() }];
        let weight = Choice { name: Some("weight"), ..Choice::default() };
        let choices = if format == Format::Safetensors { [weight, weight] } else { choices };
        choices[..if format == Format::Npz { 2 } else { 1 }].iter().any(|&choice| {
            let file = TensorFile::of_bytes(Path::new("x"), format, bytes.clone(), choice);
            file.is_ok_and(|file| {
                let len = file.elements();
                file.read().is_ok_and(|values| values.len() as u64 == len)
            })
        })
    }
}

/// One test: what the allocator counts is of one reader at a time.
#[test]
fn changed_files_are_read_or_refused() {
    fuzz("npy", npy(), 8, tensor(Format::Npy));
    fuzz("npz", npz(), EXPANSION, tensor(Format::Npz));
    fuzz("safetensors", safetensors(), 100, tensor(Format::Safetensors));
    let options =
        StateOptions { prefix: StatePrefix::Found, counters: AbsentCounters::Zero, ..StateOptions::default() };
    let spec = StateSpec::batch(2, Affine::ScaleAndBias, RunningStatistics::Tracked);
    let state = |bytes: Vec<u8>| match State::load_with(&bytes, &spec, &options) {
        Ok(state) => state.names().count() == 5,
        // its words are made too
        Err(error) => error.to_string().is_empty(),
    };
    fuzz("state", safetensors(), 200, state);
}
