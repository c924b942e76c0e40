//! Random commands: whatever they are, both paths end with the same code and the same words, or with the same files.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{apply, data, error, numbers, write_as};
use wgpu_norm_tools::tier;

/// How many are tried by all tests, where `COMMANDS` says nothing.
const COMMANDS: u64 = 250;

/// What a command may write.
const OUTPUTS: [&str; 6] = ["y.npy", "s.npy", "q.npy", "m.npy", "r.npy", "t.safetensors"];

/// A command in the making.
struct Maker<'a> {
    rng: fastrand::Rng,
    folder: &'a Path,
    line: Vec<String>,
}

impl Maker<'_> {
    fn below(&mut self, count: usize) -> usize {
        self.rng.usize(..count)
    }

    fn one_of<'t>(&mut self, words: &[&'t str]) -> &'t str {
        words[self.below(words.len())]
    }

    /// Whether something of so many chances in ten happens.
    fn is_so(&mut self, chances: usize) -> bool {
        self.below(10) < chances
    }

    fn say(&mut self, words: &str) {
        self.line.extend(words.split(' ').map(str::to_owned));
    }

    fn say_at_times(&mut self, chances: usize, option: &str, values: &[&str]) {
        if self.is_so(chances) {
            let value = self.one_of(values);
            self.say(&format!("{option} {value}"));
        }
    }

    fn switch(&mut self, chances: usize, option: &str) {
        if self.is_so(chances) {
            self.say(option);
        }
    }

    fn shape(&mut self, ranks: std::ops::Range<usize>, sizes: &[usize]) -> Vec<usize> {
        let rank = ranks.start + self.below(ranks.len());
        (0..rank).map(|_| sizes[self.below(sizes.len())]).collect()
    }

    /// A file of this shape.
    fn file(&self, shape: &[usize]) -> String {
        let sizes: String = shape.iter().map(|size| format!("x{size}")).collect();
        let name = format!("t{sizes}.npy");
        let numbers = (0..shape.iter().product()).map(|index: usize| (index * 7919 % 101) as f32 / 10.0 - 3.0);
        write_as(self.folder, &name, "<f4", shape, &numbers.flat_map(f32::to_le_bytes).collect::<Vec<_>>());
        name
    }

    /// A file whose shape has to do with this one, and often fits.
    fn parameter(&mut self, chances: usize, option: &str, shape: &[usize]) {
        if !self.is_so(chances) {
            return;
        }
        let other: Vec<usize> = match self.below(6) {
            0 => shape.iter().map(|&size| if self.is_so(5) { size } else { 1 }).collect(),
            1 if !shape.is_empty() => vec![shape[self.below(shape.len())]],
            2 => shape[self.below(shape.len() + 1)..].to_vec(),
            3 => shape.iter().rev().copied().collect(),
            4 => self.shape(0..3, &[0, 1, 2, 3, 4]),
            _ => shape.to_vec(),
        };
        let file = self.file(&other);
        self.say(&format!("{option} {file}"));
    }

    fn axes(&mut self, chances: usize, option: &str, rank: usize) {
        if self.is_so(chances) {
            let ranges = ["1..", "-2..", "0..-1", "2..1", "none", "x", "-1,-2", "2,0", "1,1"];
            let axes = match self.below(4) {
                0 => self.one_of(&ranges).to_owned(),
                1 => (self.below(2 * rank + 2) as i64 - rank as i64 - 1).to_string(),
                _ => {
                    let set: Vec<usize> = (0..rank).filter(|_| self.is_so(5)).collect();
                    set.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
                }
            };
            self.say(&format!("{option} {axes}"));
        }
    }

    fn number(&mut self, chances: usize, option: &str) {
        let numbers =
            ["0", "-0", "1e-5", "0.5", "1", "2", "3", "inf", "nan", "-1", "1e-50", "1e39", "1e-40", "x", "cumulative"];
        self.say_at_times(chances, option, &numbers);
    }

    fn around(&mut self, shape: &[usize]) {
        for option in ["--residual", "--gate", "--prologue-bias", "--modulation-scale", "--modulation-shift"] {
            self.parameter(2, option, shape);
        }
        for option in ["--addend", "--z", "--out-gate", "--out-residual"] {
            self.parameter(1, option, shape);
        }
        self.say_at_times(1, "--round-sum", &["f32", "f16", "bf16"]);
        self.say_at_times(2, "--sum-out", &["s.npy"]);
        self.say_at_times(2, "--activation", &["relu", "leaky-relu", "silu", "gelu", "tanh"]);
        for option in ["--one-plus-scale", "--round-normalized", "--plain-modulation", "--z-before"] {
            self.switch(1, option);
        }
        self.number(1, "--slope");
        self.number(1, "--factor");
        if self.is_so(2) {
            self.say_at_times(9, "--quantize", &["int8", "e4m3"]);
            self.say_at_times(5, "--quantize-scale", &["row", "block:2", "block:0", "block:-1", "static"]);
            self.say_at_times(7, "--scales-out", &["q.npy"]);
        }
    }

    fn kind(&mut self, kind: &str, shape: &[usize]) {
        let rank = shape.len();
        if matches!(kind, "batch" | "instance") && self.is_so(6) {
            self.parameter(9, "--running-mean", shape.get(1..2).unwrap_or_default());
            self.parameter(9, "--running-var", shape.get(1..2).unwrap_or_default());
        }
        if matches!(kind, "batch" | "instance" | "group" | "adain") {
            self.say_at_times(3, "--format", &["channels-first", "channels-last"]);
            self.switch(3, "--allow-single-element");
        }
        match kind {
            "batch" => {
                self.switch(6, "--training");
                self.say_at_times(3, "--running-out", &["t.safetensors"]);
                self.number(2, "--momentum");
            }
            "group" => {
                self.say_at_times(9, "--groups", &["1", "2", "3", "0", "-1"]);
                self.switch(1, "--scale-per-group");
            }
            "layer" => {
                self.axes(5, "--axes", rank);
                self.say_at_times(2, "--mean-out", &["m.npy"]);
                self.say_at_times(2, "--rstd-out", &["r.npy"]);
            }
            "rms" => {
                self.axes(4, "--axes", rank);
                self.say_at_times(2, "--groups", &["1", "2", "3", "-2"]);
            }
            "lp" | "mvn" => self.axes(6, "--axes", rank),
            "adain" => {
                self.parameter(10, "--style", shape);
                self.switch(3, "--unbiased");
            }
            "weight" => {
                self.parameter(10, "--g", shape);
                self.say_at_times(5, "--dim", &["0", "1", "-1", "none", "-5", "x"]);
            }
            _ => {
                self.say_at_times(5, "--dim", &["0", "1", "-1", "-5", "x"]);
                self.say_at_times(3, "--iterations", &["0", "1", "2", "-1"]);
                self.say_at_times(2, "--state-out", &["t.safetensors"]);
            }
        }
    }

    fn command(mut self) -> String {
        let kinds = ["batch", "layer", "instance", "group", "rms", "adain", "lp", "mvn", "weight", "spectral"];
        let kind = self.one_of(&kinds);
        let shape = if self.is_so(2) { self.shape(0..5, &[0, 1, 2, 3]) } else { self.shape(2..5, &[1, 2, 3, 4]) };
        let input = self.file(&shape);
        self.say(&format!("{kind} {input} y.npy"));
        if matches!(kind, "batch" | "layer" | "instance" | "group" | "rms" | "mvn") {
            self.parameter(3, "--scale", &shape);
            self.parameter(2, "--bias", &shape);
            self.axes(1, "--scale-axes", shape.len());
            if self.is_so(4) {
                self.around(&shape);
            }
        }
        self.kind(kind, &shape);
        if kind != "weight" {
            self.number(1, "--eps");
        }
        self.say_at_times(1, "--dtype", &["f16", "f32", "bf16", "f64"]);
        self.switch(3, "--check");
        self.line.join(" ")
    }
}

/// How a command ends on a path, and what it leaves.
fn ended(folder: &Path, line: &str, cpu: bool) -> (Option<i32>, String, BTreeMap<&'static str, Vec<u8>>) {
    let paths = || OUTPUTS.into_iter().map(|name| (name, folder.join(name)));
    paths().for_each(|(_, path)| drop(std::fs::remove_file(path)));
    let output = apply(folder, line, cpu);
    let said = if output.status.success() { String::new() } else { error(&output) };
    (output.status.code(), said, paths().filter_map(|(name, path)| Some((name, std::fs::read(path).ok()?))).collect())
}

/// Whether two lists are further apart than they may be, in units of the largest number, or of the inputs, which are a
/// few units large: sums may cancel. What is rounded to 16 bits on its way may be rounded otherwise.
fn differ(line: &str, first: &[f32], second: &[f32]) -> bool {
    let scale =
        second.iter().filter(|number| number.is_finite()).fold(1.0, |scale: f32, number| scale.max(number.abs()));
    let step = if line.contains("--round") { 1e-2 } else { 1e-5 };
    let near = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= step * scale;
    first.len() != second.len() || !first.iter().zip(second).all(near)
}

#[test]
fn both_paths_answer_any_command_alike() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let count = std::env::var("COMMANDS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or_else(|| tier::some(0..COMMANDS).count() as u64);
    let (mut rng, mut faults, mut taken) = (fastrand::Rng::with_seed(0x5EED), Vec::new(), 0);
    for _ in 0..count {
        let line = Maker { rng: rng.fork(), folder: path, line: Vec::new() }.command();
        let cpu = ended(path, &line, true);
        let lists: BTreeMap<_, _> = lists(path);
        let gpu = ended(path, &line, false);
        taken += u64::from(cpu.0 == Some(0));
        let is_refusal = cpu.0 == Some(2) && cpu.2.is_empty() && gpu.2.is_empty();
        let is_alike = (gpu.0, &gpu.1) == (cpu.0, &cpu.1) && gpu.2.keys().eq(cpu.2.keys());
        let has_same = self::lists(path).iter().all(|(name, list)| !differ(&line, list, &lists[name]));
        if !(is_alike && has_same && (is_refusal || cpu.0 == Some(0))) {
            faults.push(format!("{line}\n  GPU: {:?} {}\n  CPU: {:?} {}", gpu.0, gpu.1, cpu.0, cpu.1));
        }
    }
    assert!(faults.is_empty(), "{} of {count}\n{}", faults.len(), faults.join("\n"));
    assert!(taken > count / 10 && taken < count, "{taken} of {count} were taken");
}

/// The numbers of all files of f32 that are there.
fn lists(folder: &Path) -> BTreeMap<&'static str, Vec<f32>> {
    let files = OUTPUTS.into_iter().filter(|name| name.ends_with(".npy")).map(|name| (name, folder.join(name)));
    let of_f32 = files.filter(|(_, path)| path.exists() && data(path).0.contains("'<f4'"));
    of_f32.map(|(name, path)| (name, numbers(&path))).collect()
}
