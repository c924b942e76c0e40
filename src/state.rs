//! Checkpoints: named values on the host, to and from the bytes of a safetensors file, under PyTorch's state_dict
//! names.

mod spec;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, View};

pub use spec::{RunningStatistics, StateEntry, StateSpec, StateType};

/// Length of the number that a safetensors file starts with: the bytes of its header.
const PREFIX: usize = 8;

/// Values of one tensor. For use with [`State::insert`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StateValues {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit integers.
    I64(Vec<i64>),
}

impl From<Vec<f32>> for StateValues {
    fn from(values: Vec<f32>) -> Self {
        Self::F32(values)
    }
}

impl From<Vec<i64>> for StateValues {
    fn from(values: Vec<i64>) -> Self {
        Self::I64(values)
    }
}

/// The engine's counter of batches, which PyTorch keeps as a 64-bit integer.
impl From<u32> for StateValues {
    fn from(counter: u32) -> Self {
        Self::I64(vec![i64::from(counter)])
    }
}

impl StateValues {
    fn dtype(&self) -> StateType {
        match self {
            Self::F32(_) => StateType::F32,
            Self::I64(_) => StateType::I64,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }

    /// Values of a spec's type from elements of a file's; `None` where the one takes no such elements. The format is
    /// little-endian, and its elements lie at any byte.
    fn from_bytes(wanted: StateType, dtype: Dtype, bytes: &[u8]) -> Option<Self> {
        match (wanted, dtype) {
            (StateType::F32, Dtype::F32) => Some(Self::F32(numbers(bytes, f32::from_le_bytes))),
            (StateType::F32, Dtype::F16) => Some(Self::F32(numbers(bytes, f16_from_le_bytes))),
            (StateType::F32, Dtype::BF16) => Some(Self::F32(numbers(bytes, bf16_from_le_bytes))),
            (StateType::F32, Dtype::F64) => Some(Self::F32(numbers(bytes, |bytes| f64::from_le_bytes(bytes) as f32))),
            (StateType::I64, Dtype::I64) => Some(Self::I64(numbers(bytes, i64::from_le_bytes))),
            _ => None,
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
}

fn numbers<T, const N: usize>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&number| from(number)).collect()
}

/// The upper half of an f32.
fn bf16_from_le_bytes([low, high]: [u8; 2]) -> f32 {
    f32::from_le_bytes([0, 0, low, high])
}

/// Exactly: exponent and mantissa at their places in an f32 are the magnitude times 2^-112, subnormals too.
fn f16_from_le_bytes(bytes: [u8; 2]) -> f32 {
    const UNIT: f32 = f32::from_bits((127 + 112) << 23);
    let bits = u32::from(u16::from_le_bytes(bytes));
    let magnitude = (f32::from_bits((bits & 0x7fff) << 13) * UNIT).to_bits();
    // infinity and NaN have all bits of the exponent
    let special = if bits & 0x7c00 == 0x7c00 { 0xff << 23 } else { 0 };
    f32::from_bits((bits & 0x8000) << 16 | magnitude | special)
}

/// Parameters, running statistics, vectors and counters of norms, on the host and by name. Their place on the GPU is
/// the caller's buffers: write loaded values into them, read them back ([`read_buffer`](crate::read_buffer)) to save.
///
/// ```
/// use wgpu_norm::{Affine, RunningStatistics, State, StateSpec};
///
/// let batch = StateSpec::batch(2, Affine::ScaleAndBias, RunningStatistics::Tracked);
/// let spec = StateSpec::join([batch.prefixed("features.1."), StateSpec::layer(&[3],
/// Affine::Scale).prefixed("norm.")]); let mut state = State::default();
/// for name in ["weight", "bias", "running_mean", "running_var"] {
///     state.insert(format!("features.1.{name}"), vec![0.5f32, 2.0]);
/// }
/// state.insert("features.1.num_batches_tracked", 7u32);
/// state.insert("norm.weight", vec![1.0f32; 3]);
/// let bytes = state.save(&spec)?; // what `safetensors.torch.load_file` reads
/// let loaded = State::load(&bytes, &spec)?;
/// assert_eq!(loaded.f32("features.1.running_var")?, [0.5, 2.0]);
/// assert_eq!(loaded.counter("features.1.num_batches_tracked")?, 7);
/// # Ok::<(), wgpu_norm::StateError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    values: BTreeMap<String, StateValues>,
}

impl State {
    /// Reads the tensors of `spec` from the bytes of a safetensors file. Names outside the spec's prefixes are passed
    /// over. Floats of 16 bits become f32 as they are, those of 64 bits are rounded.
    ///
    /// # Errors
    /// [`StateError::Format`] for bytes that are no such file; [`StateError::Mismatch`] with every mistake at once.
    pub fn load(bytes: &[u8], spec: &StateSpec) -> Result<Self, StateError> {
        let (metadata, data) = parse(bytes)?;
        let tensors = metadata.tensors();
        let mut mistakes = name_mistakes(spec, tensors.keys().map(String::as_str));
        let mut values = BTreeMap::new();
        for entry in &spec.entries {
            match tensor(entry, tensors.get(&entry.name).copied(), data) {
                Ok(tensor) => drop(values.insert(entry.name.clone(), tensor)),
                Err(wrong) => mistakes.extend(wrong),
            }
        }
        if mistakes.is_empty() { Ok(Self { values }) } else { Err(StateError::Mismatch { mistakes }) }
    }

    /// The bytes of a safetensors file with the tensors of `spec`, floats as f32, the same for the same values. Values
    /// outside the spec's prefixes are left out.
    ///
    /// # Errors
    /// [`StateError::Mismatch`] with every mistake at once.
    pub fn save(&self, spec: &StateSpec) -> Result<Vec<u8>, StateError> {
        let mut mistakes = name_mistakes(spec, self.values.keys().map(String::as_str));
        let mut views = Vec::new();
        for entry in &spec.entries {
            match self.view(entry) {
                Ok(view) => views.push((&entry.name, view)),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if !mistakes.is_empty() {
            return Err(StateError::Mismatch { mistakes });
        }
        safetensors::serialize(views, None).map_err(|error| StateError::Format { message: error.to_string() })
    }

    fn view(&self, entry: &StateEntry) -> Result<SavedTensor<'_>, StateMistake> {
        let name = || entry.name.clone();
        let values = self.values.get(&entry.name).ok_or_else(|| StateMistake::Missing { name: name() })?;
        if values.dtype() != entry.dtype {
            let actual = format!("{:?}", values.dtype());
            return Err(StateMistake::Type { name: name(), expected: entry.dtype, actual });
        }
        let shape: Option<Vec<usize>> = entry.shape.iter().map(|&size| usize::try_from(size).ok()).collect();
        let elements = |shape: &[usize]| shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        match shape {
            Some(shape) if elements(&shape) == Some(values.len()) => Ok(SavedTensor { shape, values }),
            _ => Err(StateMistake::Length { name: name(), shape: entry.shape.clone(), actual: values.len() }),
        }
    }

    /// Sets the values of a tensor; its shape is that of the spec it is saved with. A `u32` is a counter.
    pub fn insert(&mut self, name: impl Into<String>, values: impl Into<StateValues>) {
        self.values.insert(name.into(), values.into());
    }

    /// Names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Values of a tensor of floats.
    ///
    /// # Errors
    /// [`StateError::NoSuchName`], [`StateError::OtherType`].
    pub fn f32(&self, name: &str) -> Result<&[f32], StateError> {
        match self.get(name)? {
            StateValues::F32(values) => Ok(values),
            other => Err(StateError::other_type(name, StateType::F32, other)),
        }
    }

    /// Values of a tensor of integers.
    ///
    /// # Errors
    /// As [`State::f32`].
    pub fn i64(&self, name: &str) -> Result<&[i64], StateError> {
        match self.get(name)? {
            StateValues::I64(values) => Ok(values),
            other => Err(StateError::other_type(name, StateType::I64, other)),
        }
    }

    /// A counter, as [`RunningArgs::batches`](crate::RunningArgs::batches) has it.
    ///
    /// # Errors
    /// As [`State::f32`]; [`StateError::SeveralValues`]; [`StateError::Counter`] where it does not fit 32 bits.
    pub fn counter(&self, name: &str) -> Result<u32, StateError> {
        match *self.i64(name)? {
            [value] => u32::try_from(value).map_err(|_| StateError::Counter { name: name.to_owned(), value }),
            ref values => Err(StateError::SeveralValues { name: name.to_owned(), len: values.len() }),
        }
    }

    fn get(&self, name: &str) -> Result<&StateValues, StateError> {
        self.values.get(name).ok_or_else(|| StateError::NoSuchName { name: name.to_owned() })
    }
}

/// Names that are claimed but not listed, sorted, and names that are listed twice.
fn name_mistakes<'a>(spec: &StateSpec, names: impl Iterator<Item = &'a str>) -> Vec<StateMistake> {
    let mut listed = BTreeSet::new();
    let twice = spec.entries.iter().filter(|entry| !listed.insert(entry.name.as_str()));
    let mut mistakes: Vec<_> = twice.map(|entry| StateMistake::ListedTwice { name: entry.name.clone() }).collect();
    let claimed = |name: &str| spec.prefixes.iter().any(|prefix| name.starts_with(prefix));
    let extra: BTreeSet<&str> = names.filter(|name| claimed(name) && !listed.contains(name)).collect();
    mistakes.extend(extra.into_iter().map(|name| StateMistake::Extra { name: name.to_owned() }));
    mistakes
}

/// The header, checked against the bytes after it: the format's crate adds up the sizes of a hostile header without a
/// check for overflow when it is given all bytes, but not when it is given the header alone.
fn parse(bytes: &[u8]) -> Result<(Metadata, &[u8]), StateError> {
    let corrupt = |message: String| StateError::Format { message };
    let (start, rest) = bytes
        .split_first_chunk::<PREFIX>()
        .ok_or_else(|| corrupt(format!("it has {} bytes, the smallest has {PREFIX}", bytes.len())))?;
    let len = u64::from_le_bytes(*start);
    let header = usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len));
    let (header, data) =
        header.ok_or_else(|| corrupt(format!("a header of {len} bytes in a file of {}", bytes.len())))?;
    // checks order, gaps, overlaps, and the size of every tensor against its shape
    let metadata: Metadata = serde_json::from_slice(header).map_err(|error| corrupt(error.to_string()))?;
    if metadata.data_len() != data.len() {
        return Err(corrupt(format!("{} bytes of tensors, the header needs {}", data.len(), metadata.data_len())));
    }
    Ok((metadata, data))
}

/// The values of one tensor, or what is wrong with it.
fn tensor(entry: &StateEntry, info: Option<&TensorInfo>, data: &[u8]) -> Result<StateValues, Vec<StateMistake>> {
    let name = || entry.name.clone();
    let info = info.ok_or_else(|| vec![StateMistake::Missing { name: name() }])?;
    let shape: Vec<u64> = info.shape.iter().map(|&size| size as u64).collect();
    let (start, end) = info.data_offsets;
    let values = StateValues::from_bytes(entry.dtype, info.dtype, &data[start..end]);
    let mut mistakes = Vec::new();
    if values.is_none() {
        mistakes.push(StateMistake::Type { name: name(), expected: entry.dtype, actual: info.dtype.to_string() });
    }
    if shape != entry.shape {
        mistakes.push(StateMistake::Shape { name: name(), expected: entry.shape.clone(), actual: shape });
    }
    values.filter(|_| mistakes.is_empty()).ok_or(mistakes)
}

/// Values with their shape, as the format's crate wants to see them.
struct SavedTensor<'a> {
    shape: Vec<usize>,
    values: &'a StateValues,
}

impl View for SavedTensor<'_> {
    fn dtype(&self) -> Dtype {
        self.values.dtype().dtype()
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values.to_bytes().into()
    }

    fn data_len(&self) -> usize {
        self.values.len() * self.dtype().bitsize() / 8
    }
}

/// Why a checkpoint cannot be read or written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The bytes are not a whole safetensors file.
    #[error("not a whole safetensors file: {message}")]
    Format {
        /// What is wrong with it.
        message: String,
    },
    /// The tensors are not those of the spec.
    #[error("the state does not fit: {}", list(.mistakes))]
    Mismatch {
        /// Every mistake.
        mistakes: Vec<StateMistake>,
    },
    /// No values of this name.
    #[error("no tensor {name:?}")]
    NoSuchName {
        /// The name.
        name: String,
    },
    /// Values of another type.
    #[error("{name:?} is {actual:?}, not {expected:?}")]
    OtherType {
        /// The name.
        name: String,
        /// Type asked for.
        expected: StateType,
        /// Type of the values.
        actual: StateType,
    },
    /// A counter that does not fit the engine's 32 bits.
    #[error("counter {name:?} must be within 0..={}, got {value}", u32::MAX)]
    Counter {
        /// The name.
        name: String,
        /// Its value.
        value: i64,
    },
    /// A tensor that is no counter.
    #[error("{name:?} has {len} values, a counter has one")]
    SeveralValues {
        /// The name.
        name: String,
        /// Number of values.
        len: usize,
    },
}

impl StateError {
    fn other_type(name: &str, expected: StateType, values: &StateValues) -> Self {
        Self::OtherType { name: name.to_owned(), expected, actual: values.dtype() }
    }
}

fn list(mistakes: &[StateMistake]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// How one tensor departs from a [`StateSpec`]. For use with [`StateError::Mismatch`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateMistake {
    /// The spec lists a name twice: a module without a prefix among several.
    #[error("{name:?} is listed twice")]
    ListedTwice {
        /// The name.
        name: String,
    },
    /// A tensor that the spec claims by its prefix but does not list.
    #[error("{name:?} is extra")]
    Extra {
        /// Its name.
        name: String,
    },
    /// A tensor of the spec is absent.
    #[error("{name:?} is missing")]
    Missing {
        /// Its name.
        name: String,
    },
    /// Another element type.
    #[error("{name:?} is {actual}, needed {expected:?}")]
    Type {
        /// The tensor.
        name: String,
        /// Type of the spec.
        expected: StateType,
        /// Type found, as safetensors spells it.
        actual: String,
    },
    /// Another shape.
    #[error("{name:?} has shape {actual:?}, needed {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Shape of the spec.
        expected: Vec<u64>,
        /// Shape found.
        actual: Vec<u64>,
    },
    /// Another number of values than the shape to be saved has.
    #[error("{name:?} has {actual} values, shape {shape:?} does not")]
    Length {
        /// The tensor.
        name: String,
        /// Shape of the spec.
        shape: Vec<u64>,
        /// Number of values.
        actual: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_is_read_exactly() {
        for bits in 0..=u16::MAX {
            let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
            let magnitude = match exponent {
                0 => mantissa * 2f64.powi(-24),
                31 if mantissa == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                _ => (1024.0 + mantissa) * 2f64.powi(exponent - 25),
            };
            let expected = magnitude.copysign(if bits >> 15 == 0 { 1.0 } else { -1.0 });
            let actual = f64::from(f16_from_le_bytes(bits.to_le_bytes()));
            assert!(actual.is_nan() && expected.is_nan() || actual.to_bits() == expected.to_bits(), "{bits:#x}");
        }
    }
}
