//! Recorded cases on disk: an index a family (`cases.json`) beside safetensors files.
//!
//! An index entry is read into two parts. A [`Request`] is what a result is computed from: operator,
//! attributes, input tensors, and the names and shapes of what is asked for. [`Expected`] is how the result
//! is judged; it is [`Sealed`] and opens only to who brings an [`Outcome`]. So no expected result, and no
//! recorded refusal, can reach the computation.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use wgpu_norm::Element;
use wgpu_norm_tools::elements;
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::file_error::FileError;
use wgpu_norm_tools::files::Choice;
use wgpu_norm_tools::safetensors_file::Header;

use crate::fused::attributes::Format;
use crate::{Outcome, fused};

/// All cases of one folder.
pub struct Family {
    /// Its name.
    pub name: String,
    /// Its cases, in the order of the index.
    pub cases: Vec<Case>,
    /// Where its tensors are.
    pub store: Store,
}

/// One case.
pub struct Case {
    /// What is to be computed.
    pub request: Request,
    /// What should come out.
    pub expected: Sealed,
}

#[derive(Deserialize)]
struct Index {
    family: String,
    files: Vec<String>,
    cases: Vec<Value>,
}

impl Family {
    /// The families of `dir`: its folders that hold an index, in order, or `dir` itself where it holds one.
    pub fn open_all(dir: &Path) -> Result<Vec<Self>, Failure> {
        let mut folders = vec![dir.to_owned()];
        if !dir.join("cases.json").exists() {
            let entries = std::fs::read_dir(dir).map_err(|error| Failure::file(dir, error))?;
            folders = entries.flatten().map(|entry| entry.path()).collect();
            folders.retain(|folder| folder.join("cases.json").exists());
            folders.sort();
        }
        if folders.is_empty() {
            return Err(Failure::Usage(format!("{}: no folder in it has a cases.json", dir.display())));
        }
        folders.iter().map(|folder| Self::open(folder)).collect()
    }

    fn open(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("cases.json");
        let corrupt = |what: String| Failure::Usage(format!("{}: {what}", path.display()));
        let text = std::fs::read(&path).map_err(|error| Failure::file(&path, error))?;
        let index: Index = serde_json::from_slice(&text).map_err(|error| corrupt(error.to_string()))?;
        let mut cases = Vec::with_capacity(index.cases.len());
        for (number, entry) in index.cases.iter().enumerate() {
            let bad = |error: serde_json::Error| corrupt(format!("case {number}: {error}"));
            cases.push(Case {
                request: Request::deserialize(entry).map_err(bad)?,
                expected: Sealed(Expected::deserialize(entry).map_err(bad)?),
            });
        }
        Ok(Self { name: index.family, cases, store: Store::open(folder, &index.files)? })
    }
}

/// What a case asks for.
#[derive(Deserialize)]
pub struct Request {
    /// Name, unique over all families.
    pub name: String,
    /// Operator.
    pub op: String,
    /// The function that was run.
    pub source: String,
    /// Element type; parameters and statistics may have another.
    pub dtype: Dtype,
    /// Class of the input.
    #[serde(default)]
    pub class: String,
    /// Options of the operator.
    pub attrs: Attributes,
    /// Constructor arguments of a module.
    #[serde(default)]
    pub module: Module,
    /// How inputs are made that are not stored.
    pub generate: Option<Generate>,
    /// Running statistics to start from where none are stored.
    pub running_init: Option<RunningInit>,
    file: Option<String>,
    /// Stored inputs.
    pub inputs: BTreeMap<String, Spec>,
    /// Names and shapes of the results asked for.
    #[serde(rename = "outputs")]
    pub wanted: BTreeMap<String, Spec>,
}

/// Type and shape of a stored tensor.
#[derive(Deserialize)]
pub struct Spec {
    /// Element type.
    pub dtype: Dtype,
    /// Sizes of the axes.
    pub shape: Vec<u64>,
}

/// Options of all operators, named as in the index. `Option<Option<_>>`: absent, or given and perhaps null.
#[derive(Deserialize, Default)]
#[serde(default)]
#[expect(clippy::option_option, reason = "null is an option of its own")]
pub struct Attributes {
    #[serde(deserialize_with = "present")]
    pub eps: Option<Option<f64>>,
    pub epsilon: Option<f64>,
    #[serde(deserialize_with = "present")]
    pub momentum: Option<Option<f64>>,
    pub training: Option<bool>,
    pub training_mode: Option<u32>,
    pub use_input_stats: Option<bool>,
    pub unbatched: bool,
    pub raw: bool,
    pub num_groups: Option<u64>,
    pub normalized_shape: Option<Vec<u64>>,
    pub axis: Option<i64>,
    pub axes: Option<Vec<usize>>,
    pub dim: Option<i64>,
    pub p: Option<f64>,
    pub memory_format: Option<String>,
    pub unbiased: bool,
    pub eps_mode: Option<String>,
    pub checkpoints: Vec<usize>,
    pub affine: bool,
    pub n_power_iterations: Option<u32>,
    pub steps: Option<u32>,
    pub order: Option<String>,
    /// Of family `fused`.
    #[serde(flatten)]
    pub fused: fused::attributes::Attributes,
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Constructor arguments of a module.
#[derive(Deserialize, Default)]
pub struct Module {
    /// By position.
    #[serde(default)]
    pub args: Vec<Value>,
    /// By name.
    #[serde(default)]
    pub kwargs: BTreeMap<String, Value>,
}

/// How the inputs of a case are made.
#[derive(Deserialize)]
pub struct Generate {
    /// `portable` or another framework's generator.
    pub kind: String,
    /// Shape of the input.
    pub shape: Vec<u64>,
    /// Sequence of the input.
    pub input: Option<Sequence>,
    /// Sequence of the gradient to the output.
    pub dy: Option<Sequence>,
    /// Sequence of the scale.
    pub weight: Option<Sequence>,
    /// Sequence of the bias.
    pub bias: Option<Sequence>,
}

/// Parameters of a portable pseudo-random sequence.
#[derive(Deserialize, Clone, Copy)]
pub struct Sequence {
    /// Start.
    pub seed: u64,
    /// Mean.
    pub offset: f64,
    /// Factor of the spread.
    pub scale: f64,
}

/// Constants that running statistics start from.
#[derive(Deserialize, Clone, Copy)]
pub struct RunningInit {
    /// Every mean.
    pub mean: f32,
    /// Every variance.
    pub var: f32,
}

impl Request {
    /// Reads the input `name`; `None` where the case has none.
    pub fn input(&self, name: &str, store: &Store) -> Result<Option<Vec<f32>>, Failure> {
        self.read(name, store, floats)
    }

    /// Reads the integers `name`.
    pub fn integers(&self, name: &str, store: &Store) -> Result<Option<Vec<i64>>, Failure> {
        self.read(name, store, integers)
    }

    fn read<T>(&self, name: &str, store: &Store, decode: Decode<T>) -> Result<Option<Vec<T>>, Failure> {
        let tensor = format!("{}/{name}", self.name);
        let read = || store.read(self.file.as_deref(), &tensor, decode);
        self.inputs.contains_key(name).then(|| read().map(|(_, values)| values)).transpose()
    }

    /// Element type of the case.
    pub fn element(&self) -> Element {
        elements::of_dtype(self.dtype).unwrap_or_default()
    }

    /// Element type of an input, or that of the case where it has no such input.
    pub fn input_element(&self, name: &str) -> Element {
        self.element_of(self.inputs.get(name))
    }

    /// Element type that is asked of a result, or that of the case where it is not asked for.
    pub fn wanted_element(&self, name: &str) -> Element {
        self.element_of(self.wanted.get(name))
    }

    fn element_of(&self, tensor: Option<&Spec>) -> Element {
        tensor.and_then(|spec| elements::of_dtype(spec.dtype)).unwrap_or(self.element())
    }
}

/// What should come out, out of reach until something came out.
pub struct Sealed(Expected);

impl Sealed {
    /// The expected results, to judge `_computed` by.
    pub fn open(&self, _computed: &Outcome) -> &Expected {
        &self.0
    }
}

/// How the results of a case are judged.
#[derive(Deserialize)]
pub struct Expected {
    name: String,
    /// Element type of the case.
    pub dtype: Dtype,
    file: Option<String>,
    /// Results by name.
    pub outputs: BTreeMap<String, ExpectedTensor>,
    /// The refusal of the peer.
    pub raises: Option<Raises>,
}

/// How one result is judged.
#[derive(Deserialize)]
pub struct ExpectedTensor {
    /// Element type of the peer's result.
    pub dtype: Dtype,
    /// Whether an f64 oracle stands beside the peer's result.
    #[serde(default)]
    pub oracle: bool,
    /// Whether it may be missing.
    #[serde(default)]
    pub optional: bool,
    /// What errors are divided by.
    #[serde(default)]
    pub scale: f64,
    #[serde(default)]
    peer_err: Value,
    /// How the peer's numbers are quantised.
    pub quantised: Option<Quantised>,
}

/// Numbers as bytes. Their oracle is the quotient before rounding.
#[derive(Deserialize)]
pub struct Quantised {
    /// What a byte is.
    pub format: Format,
    /// What errors may be, the peer's aside.
    pub floor: f64,
}

impl ExpectedTensor {
    /// The peer's own error in units of the scale.
    pub fn peer_error(&self) -> f64 {
        self.peer_err.as_f64().unwrap_or(0.0)
    }
}

/// What the peer said when it refused.
#[derive(Deserialize)]
pub struct Raises {
    /// Type of the exception.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its message.
    pub message: String,
}

impl Expected {
    /// The peer's own result.
    pub fn peer(&self, name: &str, store: &Store) -> Result<Vec<f32>, Failure> {
        self.read(name, store, floats).map(|(_, values)| values)
    }

    /// The peer's own bytes.
    #[cfg(test)]
    pub fn bytes(&self, name: &str, store: &Store) -> Result<Vec<u8>, Failure> {
        self.read(name, store, |bytes, _| Some(bytes.to_vec())).map(|(_, values)| values)
    }

    /// The peer's own integers.
    pub fn integers(&self, name: &str, store: &Store) -> Result<Vec<i64>, Failure> {
        self.read(name, store, integers).map(|(_, values)| values)
    }

    /// Shape and values of the f64 oracle.
    pub fn oracle(&self, name: &str, store: &Store) -> Result<(Vec<u64>, Vec<f64>), Failure> {
        self.read(&format!("{name}.f64"), store, doubles)
    }

    fn read<T>(&self, name: &str, store: &Store, decode: Decode<T>) -> Result<(Vec<u64>, Vec<T>), Failure> {
        store.read(self.file.as_deref(), &format!("{}/{name}", self.name), decode)
    }
}

/// The tensor files of a family. Only headers are in memory; a tensor is read when it is asked for.
pub struct Store {
    files: BTreeMap<String, (PathBuf, Header)>,
}

impl Store {
    fn open(folder: &Path, names: &[String]) -> Result<Self, Failure> {
        let open = |name: &String| {
            let path = folder.join(name);
            let header = File::open(&path).map_err(FileError::from).and_then(|mut file| {
                let len = file.metadata()?.len();
                Header::read(&mut file, len)
            });
            match header {
                Ok(header) => Ok((name.clone(), (path, header))),
                Err(error) => Err(Failure::file(&path, error)),
            }
        };
        Ok(Self { files: names.iter().map(open).collect::<Result<_, _>>()? })
    }

    /// Shape and elements of a tensor.
    fn read<T>(&self, file: Option<&str>, tensor: &str, decode: Decode<T>) -> Result<(Vec<u64>, Vec<T>), Failure> {
        let Some((path, header)) = file.and_then(|name| self.files.get(name)) else {
            return Err(Failure::Usage(format!("the index names no file for tensor {tensor}")));
        };
        let read = || {
            let (_, info) = header.find(Choice { name: Some(tensor), prefix: Some(""), option: "" })?;
            let bytes = header.bytes(&mut File::open(path)?, info)?;
            let shape = info.shape.iter().map(|&size| size as u64).collect();
            match decode(&bytes, info.dtype) {
                Some(values) => Ok((shape, values)),
                None => Err(FileError::DataType(format!("{:?} of tensor '{tensor}'", info.dtype))),
            }
        };
        read().map_err(|error| Failure::file(path, error))
    }
}

/// Bytes of a stored tensor to its elements; `None` where they have a type that is not expected there.
type Decode<T> = fn(&[u8], Dtype) -> Option<Vec<T>>;

fn floats(bytes: &[u8], dtype: Dtype) -> Option<Vec<f32>> {
    Some(elements::decode(bytes, elements::of_dtype(dtype)?))
}

fn doubles(bytes: &[u8], dtype: Dtype) -> Option<Vec<f64>> {
    (dtype == Dtype::F64).then(|| bytes.as_chunks().0.iter().map(|&value| f64::from_le_bytes(value)).collect())
}

fn integers(bytes: &[u8], dtype: Dtype) -> Option<Vec<i64>> {
    (dtype == Dtype::I64).then(|| bytes.as_chunks().0.iter().map(|&value| i64::from_le_bytes(value)).collect())
}
