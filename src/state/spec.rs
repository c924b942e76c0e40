//! What a checkpoint should have: names, shapes and types, as PyTorch keeps them.

use safetensors::Dtype;

use crate::descriptor::Affine;
use crate::error::PlanError;
use crate::plan;

/// Element type of a tensor of a checkpoint. For use with [`StateSpec::with`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StateType {
    /// 32-bit float: everything but counters. Files may have floats of 16 or 64 bits instead.
    F32,
    /// 64-bit integer: PyTorch's counters.
    I64,
}

impl StateType {
    pub(super) fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::I64 => Dtype::I64,
        }
    }
}

/// Whether a module keeps running statistics (PyTorch's `track_running_stats`). For use with [`StateSpec::batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunningStatistics {
    /// `running_mean`, `running_var` and `num_batches_tracked`.
    Tracked,
    /// None.
    Untracked,
}

/// One tensor of a checkpoint. For use with [`StateSpec::entries`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StateEntry {
    /// Name, prefix included.
    pub name: String,
    /// Shape as PyTorch has it; `[]` for a counter.
    pub shape: Vec<u64>,
    /// Element type.
    pub dtype: StateType,
}

/// The tensors that one or more modules keep in a checkpoint. For use with [`State::load`](crate::State::load) and
/// [`State::save`](crate::State::save).
///
/// A spec claims every name that starts with its prefix; without a prefix, every name. A claimed name that it does not
/// list is a mistake, so list what else the module keeps, such as the bias of a convolution, with [`StateSpec::with`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSpec {
    pub(super) entries: Vec<StateEntry>,
    pub(super) prefixes: Vec<String>,
}

impl Default for StateSpec {
    fn default() -> Self {
        Self { entries: Vec::new(), prefixes: vec![String::new()] }
    }
}

impl StateSpec {
    /// Batch norm: `weight`, `bias`, `running_mean`, `running_var`, `num_batches_tracked`.
    pub fn batch(channels: u64, affine: Affine, running: RunningStatistics) -> Self {
        let spec = Self::parameters(&[channels], affine);
        match running {
            RunningStatistics::Untracked => spec,
            RunningStatistics::Tracked => spec
                .with("running_mean", &[channels], StateType::F32)
                .with("running_var", &[channels], StateType::F32)
                .with("num_batches_tracked", &[], StateType::I64),
        }
    }

    /// Instance norm: the names of [`StateSpec::batch`]. PyTorch's default is neither parameters nor running
    /// statistics.
    pub fn instance(channels: u64, affine: Affine, running: RunningStatistics) -> Self {
        Self::batch(channels, affine, running)
    }

    /// Group norm: `weight` and `bias` of the channels.
    pub fn group(channels: u64, affine: Affine) -> Self {
        Self::parameters(&[channels], affine)
    }

    /// Layer norm: `weight` and `bias` of the normalized shape.
    pub fn layer(shape: &[u64], affine: Affine) -> Self {
        Self::parameters(shape, affine)
    }

    /// RMS norm: `weight` (and `bias`, which PyTorch has not) of the normalized shape.
    pub fn rms(shape: &[u64], affine: Affine) -> Self {
        Self::parameters(shape, affine)
    }

    /// Spectral norm of a weight (`torch.nn.utils.parametrizations.spectral_norm`): `parametrizations.weight.original`
    /// and `parametrizations.weight.0._u` and `_v`, which a weight of rank 1 has not.
    ///
    /// # Errors
    /// [`PlanError`] for a weight of rank 0, and an axis outside it.
    pub fn spectral(shape: &[u64], dim: usize) -> Result<Self, PlanError> {
        let (rows, columns) = matrix("spectral", shape, dim)?;
        let spec = Self::default().with("parametrizations.weight.original", shape, StateType::F32);
        Ok(match shape.len() {
            1 => spec,
            _ => spec.with("parametrizations.weight.0._u", &[rows], StateType::F32).with(
                "parametrizations.weight.0._v",
                &[columns],
                StateType::F32,
            ),
        })
    }

    /// Spectral norm under the names of the older `torch.nn.utils.spectral_norm`: `weight_orig`, `weight_u`,
    /// `weight_v`, for a weight of rank 1 too. Its iterations are [`PowerOrder::VThenU`](crate::PowerOrder::VThenU).
    ///
    /// # Errors
    /// As [`StateSpec::spectral`].
    pub fn spectral_hook(shape: &[u64], dim: usize) -> Result<Self, PlanError> {
        let (rows, columns) = matrix("spectral", shape, dim)?;
        let spec = Self::default().with("weight_orig", shape, StateType::F32);
        Ok(spec.with("weight_u", &[rows], StateType::F32).with("weight_v", &[columns], StateType::F32))
    }

    /// Weight norm (`torch.nn.utils.parametrizations.weight_norm`): `parametrizations.weight.original0` is g, of the
    /// weight's rank with size 1 but along `dim` (no axis at all for `None`), `parametrizations.weight.original1` is v.
    ///
    /// # Errors
    /// As [`StateSpec::spectral`].
    pub fn weight(shape: &[u64], dim: Option<usize>) -> Result<Self, PlanError> {
        let names = ["parametrizations.weight.original0", "parametrizations.weight.original1"];
        Self::magnitude_and_direction(names, shape, dim)
    }

    /// Weight norm under the names of the older `torch.nn.utils.weight_norm`: `weight_g` and `weight_v`.
    ///
    /// # Errors
    /// As [`StateSpec::spectral`].
    pub fn weight_hook(shape: &[u64], dim: Option<usize>) -> Result<Self, PlanError> {
        Self::magnitude_and_direction(["weight_g", "weight_v"], shape, dim)
    }

    fn magnitude_and_direction([g, v]: [&str; 2], shape: &[u64], dim: Option<usize>) -> Result<Self, PlanError> {
        matrix("weight", shape, dim.unwrap_or(0))?;
        let g_shape = match dim {
            Some(dim) => (0..shape.len()).map(|axis| if axis == dim { shape[axis] } else { 1 }).collect(),
            None => Vec::new(),
        };
        Ok(Self::default().with(g, &g_shape, StateType::F32).with(v, shape, StateType::F32))
    }

    fn parameters(shape: &[u64], affine: Affine) -> Self {
        let present = [("weight", affine.has_scale()), ("bias", affine.has_bias())];
        let names = present.into_iter().filter_map(|(name, present)| present.then_some(name));
        names.fold(Self::default(), |spec, name| spec.with(name, shape, StateType::F32))
    }

    /// Adds a tensor; [`StateSpec::default`] starts from none. A later [`StateSpec::prefixed`] prefixes its name too.
    pub fn with(mut self, name: &str, shape: &[u64], dtype: StateType) -> Self {
        self.entries.push(StateEntry { name: name.to_owned(), shape: shape.to_vec(), dtype });
        self
    }

    /// Puts the path of the module before all names, with its last dot: `features.1.`.
    pub fn prefixed(mut self, prefix: &str) -> Self {
        let names = self.entries.iter_mut().map(|entry| &mut entry.name);
        names.chain(&mut self.prefixes).for_each(|name| name.insert_str(0, prefix));
        self
    }

    /// The tensors of several modules, each with its prefix.
    pub fn join(specs: impl IntoIterator<Item = Self>) -> Self {
        let mut joined = Self { entries: Vec::new(), prefixes: Vec::new() };
        for spec in specs {
            joined.entries.extend(spec.entries);
            joined.prefixes.extend(spec.prefixes);
        }
        joined
    }

    /// The tensors, in the order they were given.
    pub fn entries(&self) -> &[StateEntry] {
        &self.entries
    }
}

/// Rows and columns of a weight seen as a matrix.
fn matrix(kind: &'static str, shape: &[u64], dim: usize) -> Result<(u64, u64), PlanError> {
    plan::elements_of(shape)?;
    if shape.is_empty() {
        return Err(PlanError::RankTooLow { kind, rank: 0, min: 1 });
    }
    let rows = *shape.get(dim).ok_or_else(|| PlanError::AxesOutOfRange { axes: vec![dim], rank: shape.len() })?;
    let others = (0..shape.len()).filter(|&axis| axis != dim);
    Ok((rows, others.map(|axis| shape[axis]).product()))
}
