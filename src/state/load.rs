//! From the bytes of a safetensors file to the values of a spec.

use std::collections::BTreeMap;

use safetensors::tensor::{Metadata, TensorInfo};

use super::foreign::{foreign_format, is_safetensors};
use super::numbers::{Unfit, decode, may_take};
use super::{StateEntry, StateError, StateMistake, StateSpec, StateType, StateValues, extra, listed_twice};

/// Length of the number that a safetensors file starts with: the bytes of its header.
const PREFIX: usize = 8;

/// What ends a prefix that is found: the path of a module, in PyTorch and elsewhere.
const SEPARATORS: [char; 3] = ['.', '/', ':'];

/// How far a file may depart from a spec. For use with [`State::load_with`](crate::State::load_with). The default is
/// that it may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateOptions {
    /// What stands before the names of the spec in the file.
    pub prefix: StatePrefix,
    /// Counters that the file has not.
    pub counters: AbsentCounters,
    /// Tensors that the spec claims but does not list.
    pub extra: ExtraTensors,
}

/// What stands before the names of a spec in a file, such as `module.` or `model.`: wrappers put it there. For use with
/// [`StateOptions::prefix`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StatePrefix {
    /// Nothing.
    #[default]
    None,
    /// This, with its last dot.
    Given(String),
    /// Nothing, or what stands before all names of the spec and is the only one that does; it ends with a dot, a slash
    /// or a colon.
    Found,
}

/// What is made of counters that a file has not: PyTorch counts batches since version 0.4.1. For use with
/// [`StateOptions::counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AbsentCounters {
    /// A mistake.
    #[default]
    Refuse,
    /// They are 0.
    Zero,
}

/// What is made of tensors that a spec claims by its prefix but does not list. For use with [`StateOptions::extra`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExtraTensors {
    /// A mistake.
    #[default]
    Refuse,
    /// They are passed over.
    Ignore,
}

/// The values of all entries of `spec`, by the names that it gives them.
pub(super) fn load(
    bytes: &[u8],
    spec: &StateSpec,
    options: &StateOptions,
) -> Result<BTreeMap<String, StateValues>, StateError> {
    let (metadata, data) = parse(bytes)?;
    let file = File { tensors: metadata.tensors().into_iter().collect(), spec, options };
    let prefix = match &options.prefix {
        StatePrefix::None => "",
        StatePrefix::Given(prefix) => prefix,
        StatePrefix::Found => file.prefix(),
    };
    let mut mistakes = listed_twice(spec);
    mistakes.extend(file.extra(prefix));
    let mut values = BTreeMap::new();
    for entry in &spec.entries {
        match file.values(entry, prefix, data) {
            Ok(tensor) => drop(values.insert(entry.name.clone(), tensor)),
            Err(wrong) => mistakes.extend(wrong),
        }
    }
    if mistakes.is_empty() {
        return Ok(values);
    }
    let available = file.tensors.keys().cloned().collect();
    let prefixes = file.fitting().filter(|found| *found != prefix).map(str::to_owned).collect();
    Err(StateError::Mismatch { mistakes, available, prefixes })
}

/// The tensors of a file beside those that are wanted.
struct File<'a> {
    tensors: BTreeMap<String, &'a TensorInfo>,
    spec: &'a StateSpec,
    options: &'a StateOptions,
}

impl File<'_> {
    /// The only prefix that fits; the only one with all names, whose mistakes say more than missing names; or none.
    fn prefix(&self) -> &str {
        if self.names_all("") {
            return "";
        }
        let fitting: Vec<&str> = self.fitting().collect();
        let named: Vec<&str> = self.prefixes().collect();
        match (&fitting[..], &named[..]) {
            ([prefix], _) | ([], [prefix]) => prefix,
            _ => "",
        }
    }

    /// Whether each name is there that has to be.
    fn names_all(&self, prefix: &str) -> bool {
        self.spec.entries.iter().all(|entry| self.may_lack(entry) || self.find(entry, prefix).is_some())
    }

    /// What stands before all names in the file.
    fn prefixes(&self) -> impl Iterator<Item = &str> {
        let entry = self.spec.entries.iter().find(|entry| !self.may_lack(entry));
        let before = move |name| entry.and_then(|entry| str::strip_suffix(name, entry.name.as_str()));
        let before = self.tensors.keys().filter_map(move |name| before(name.as_str()));
        before.filter(|prefix| prefix.ends_with(SEPARATORS) && self.names_all(prefix))
    }

    /// Those of them behind which all is as the spec has it.
    fn fitting(&self) -> impl Iterator<Item = &str> {
        let fits = |entry: &StateEntry, prefix: &str| match self.find(entry, prefix) {
            Some(info) => departures(entry, prefix, info).is_empty(),
            None => self.may_lack(entry),
        };
        self.prefixes().filter(move |prefix| {
            self.spec.entries.iter().all(|entry| fits(entry, prefix)) && self.extra(prefix).is_empty()
        })
    }

    fn extra(&self, prefix: &str) -> Vec<StateMistake> {
        match self.options.extra {
            ExtraTensors::Refuse => extra(self.spec, prefix, self.tensors.keys().map(String::as_str)),
            ExtraTensors::Ignore => Vec::new(),
        }
    }

    fn may_lack(&self, entry: &StateEntry) -> bool {
        is_counter(entry) && self.options.counters == AbsentCounters::Zero
    }

    fn find(&self, entry: &StateEntry, prefix: &str) -> Option<&TensorInfo> {
        self.tensors.get(&format!("{prefix}{}", entry.name)).copied()
    }

    /// The values of one tensor, or what is wrong with it.
    fn values(&self, entry: &StateEntry, prefix: &str, data: &[u8]) -> Result<StateValues, Vec<StateMistake>> {
        let name = || format!("{prefix}{}", entry.name);
        let info = match self.find(entry, prefix) {
            Some(info) => info,
            None if self.may_lack(entry) => return Ok(StateValues::I64(vec![0])),
            None if is_counter(entry) => return Err(vec![StateMistake::MissingCounter { name: name() }]),
            None => return Err(vec![StateMistake::Missing { name: name() }]),
        };
        let mistakes = departures(entry, prefix, info);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let (start, end) = info.data_offsets;
        decode(entry.dtype, info.dtype, &data[start..end]).map_err(|unfit| {
            vec![match unfit {
                Unfit::NotWhole(value) => StateMistake::NotWhole { name: name(), value },
                Unfit::Type => other_type(entry, name(), info),
            }]
        })
    }
}

fn is_counter(entry: &StateEntry) -> bool {
    entry.dtype == StateType::I64 && entry.shape.is_empty()
}

/// How type and shape depart from the spec's. One number may have any sizes of 1, as counters had once.
fn departures(entry: &StateEntry, prefix: &str, info: &TensorInfo) -> Vec<StateMistake> {
    let name = || format!("{prefix}{}", entry.name);
    let shape: Vec<u64> = info.shape.iter().map(|&size| size as u64).collect();
    let is_one = |shape: &[u64]| shape.iter().all(|&size| size == 1);
    let mut mistakes = Vec::new();
    if !may_take(entry.dtype, info.dtype) {
        mistakes.push(other_type(entry, name(), info));
    }
    if shape != entry.shape && !(is_one(&shape) && is_one(&entry.shape)) {
        mistakes.push(StateMistake::Shape { name: name(), expected: entry.shape.clone(), actual: shape });
    }
    mistakes
}

fn other_type(entry: &StateEntry, name: String, info: &TensorInfo) -> StateMistake {
    StateMistake::Type { name, expected: entry.dtype, actual: info.dtype.to_string() }
}

/// The header, checked against the bytes after it: the format's crate adds up the sizes of a hostile header without a
/// check for overflow when it is given all bytes, but not when it is given the header alone.
fn parse(bytes: &[u8]) -> Result<(Metadata, &[u8]), StateError> {
    let corrupt = |message: String| StateError::Format { message };
    // what is something else is named; what begins well is looked at closely
    if let Some(is) = foreign_format(bytes).filter(|_| !is_safetensors(bytes)) {
        return Err(corrupt(format!("it is {is}")));
    }
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
