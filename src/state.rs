//! Checkpoints: named values on the host, to and from the bytes of a safetensors file, under PyTorch's state_dict
//! names.

mod error;
mod foreign;
mod load;
mod numbers;
mod spec;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use safetensors::{Dtype, View};

pub use error::{StateError, StateMistake};
pub use foreign::foreign_format;
pub use load::{AbsentCounters, ExtraTensors, StateOptions, StatePrefix};
pub use spec::{RunningStatistics, StateEntry, StateSpec, StateType};

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

    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
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
    /// over. Numbers may have other types than the spec's, as PyTorch takes them too: floats of 16 bits become f32 as
    /// they are, those of 64 bits are rounded, a counter may be an integer of any size or a whole float, with the
    /// shape `[1]` of old checkpoints. What departs further is a matter of [`State::load_with`].
    ///
    /// # Errors
    /// [`StateError::Format`] for bytes that are no such file; [`StateError::Mismatch`] with every mistake at once, and
    /// with the names that the file has.
    pub fn load(bytes: &[u8], spec: &StateSpec) -> Result<Self, StateError> {
        Self::load_with(bytes, spec, &StateOptions::default())
    }

    /// As [`State::load`], from a file whose names stand behind a prefix, or which lacks counters, or has more.
    ///
    /// ```
    /// use wgpu_norm::{AbsentCounters, Affine, RunningStatistics, State, StateOptions, StatePrefix, StateSpec};
    ///
    /// let spec = StateSpec::batch(1, Affine::None, RunningStatistics::Tracked);
    /// # let names = ["mean", "var"].map(|name| (format!("module.running_{name}"), vec![2.0f32]));
    /// # let old = names.iter().fold(StateSpec::default(), |s, (n, _)| s.with(n, &[1], wgpu_norm::StateType::F32));
    /// # let mut state = State::default();
    /// # names.into_iter().for_each(|(name, values)| state.insert(name, values));
    /// # let bytes = state.save(&old)?;
    /// let options = StateOptions {
    ///     prefix: StatePrefix::Found,
    ///     counters: AbsentCounters::Zero,
    ///     ..StateOptions::default()
    /// };
    /// // an old checkpoint of a model within `DataParallel`: module.running_mean and module.running_var
    /// let state = State::load_with(&bytes, &spec, &options)?;
    /// assert_eq!(state.f32("running_mean")?, [2.0]);
    /// assert_eq!(state.counter("num_batches_tracked")?, 0);
    /// # Ok::<(), wgpu_norm::StateError>(())
    /// ```
    ///
    /// # Errors
    /// As [`State::load`].
    pub fn load_with(bytes: &[u8], spec: &StateSpec, options: &StateOptions) -> Result<Self, StateError> {
        Ok(Self { values: load::load(bytes, spec, options)? })
    }

    /// The bytes of a safetensors file with the tensors of `spec`, floats as f32, the same for the same values. Values
    /// outside the spec's prefixes are left out.
    ///
    /// # Errors
    /// [`StateError::Mismatch`] with every mistake at once.
    pub fn save(&self, spec: &StateSpec) -> Result<Vec<u8>, StateError> {
        let mut mistakes = listed_twice(spec);
        mistakes.extend(extra(spec, "", self.values.keys().map(String::as_str)));
        let mut views = Vec::new();
        for entry in &spec.entries {
            match self.view(entry) {
                Ok(view) => views.push((&entry.name, view)),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if !mistakes.is_empty() {
            let available = self.values.keys().cloned().collect();
            return Err(StateError::Mismatch { mistakes, available, prefixes: Vec::new() });
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

/// Names that a spec lists twice.
fn listed_twice(spec: &StateSpec) -> Vec<StateMistake> {
    let mut listed = BTreeSet::new();
    let twice = spec.entries.iter().filter(|entry| !listed.insert(entry.name.as_str()));
    twice.map(|entry| StateMistake::ListedTwice { name: entry.name.clone() }).collect()
}

/// Names behind a prefix that are claimed but not listed, sorted.
fn extra<'a>(spec: &StateSpec, prefix: &str, names: impl Iterator<Item = &'a str>) -> Vec<StateMistake> {
    let listed: BTreeSet<&str> = spec.entries.iter().map(|entry| entry.name.as_str()).collect();
    let claimed = |name: &str| spec.prefixes.iter().any(|claim| name.starts_with(claim));
    let of_spec = |name: &'a str| name.strip_prefix(prefix).filter(|rest| claimed(rest) && !listed.contains(rest));
    let extra: BTreeSet<&str> = names.filter(|name| of_spec(name).is_some()).collect();
    extra.into_iter().map(|name| StateMistake::Extra { name: name.to_owned() }).collect()
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
