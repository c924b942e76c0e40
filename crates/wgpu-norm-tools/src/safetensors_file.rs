//! `.safetensors`: the length of the header, the header as JSON, the elements of all tensors.
//!
//! Only the header and the wanted tensor are read, so one tensor of a file of gigabytes is cheap.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::elements;
use crate::files::{FileError, Layout, Stored, check_length, element_count};

/// Length of the number before the header.
const PREFIX: u64 = 8;
/// The limit of the format itself.
const MAX_HEADER: u64 = 100_000_000;
/// Names listed in an error.
const LISTED: usize = 8;

/// What a header says.
pub struct Header {
    metadata: Metadata,
    /// Where the elements start in the file.
    start: u64,
}

impl Header {
    /// Reads the header of a file of `file_len` bytes, and checks it against that.
    pub fn read(file: &mut impl Read, file_len: u64) -> Result<Self, FileError> {
        let foreign = |reason: String| FileError::Foreign { format: ".safetensors", reason };
        if file_len < PREFIX {
            return Err(foreign(format!("it has {file_len} bytes, the smallest has {PREFIX}")));
        }
        let mut start = [0u8; PREFIX as usize];
        file.read_exact(&mut start)?;
        let header_len = u64::from_le_bytes(start);
        if header_len > MAX_HEADER {
            return Err(foreign(format!("a header of {header_len} bytes, at most {MAX_HEADER} are allowed")));
        }
        let start = PREFIX + header_len;
        if start > file_len {
            return Err(FileError::Truncated { expected: start, actual: file_len });
        }
        let mut text = vec![0u8; header_len as usize];
        file.read_exact(&mut text)?;
        // Checks order, gaps, overlaps and the size of every tensor against its shape, without overflow.
        let metadata: Metadata = serde_json::from_slice(&text).map_err(|error| FileError::Header(error.to_string()))?;
        let end = (metadata.data_len() as u64).checked_add(start);
        check_length(end.ok_or_else(|| FileError::Header("offsets overflow".to_owned()))?, file_len)?;
        Ok(Self { metadata, start })
    }

    /// The tensor `name`, or the only one. `option` is how the caller may choose among several.
    pub fn find(&self, name: Option<&str>, option: &'static str) -> Result<(String, &TensorInfo), FileError> {
        let mut names = self.metadata.offset_keys();
        names.sort();
        let name = match (name, names.as_slice()) {
            (Some(name), _) => name.to_owned(),
            (None, [only]) => only.clone(),
            (None, []) => return Err(FileError::Header("it holds no tensor".to_owned())),
            (None, _) => return Err(FileError::ChooseTensor { option, available: list(&names) }),
        };
        match self.metadata.info(&name) {
            Some(info) => Ok((name, info)),
            None => Err(FileError::NoSuchTensor { name, available: list(&names) }),
        }
    }

    /// As [`Header::find`], a tensor of floats.
    pub fn layout(&self, name: Option<&str>, option: &'static str) -> Result<(Layout, String), FileError> {
        let (name, info) = self.find(name, option)?;
        let stored = match info.dtype {
            Dtype::F64 => Some(Stored::F64),
            dtype => elements::of_dtype(dtype).map(Stored::As),
        };
        let stored = stored.ok_or_else(|| FileError::DataType(format!("{:?} of tensor '{name}'", info.dtype)))?;
        let shape: Vec<u64> = info.shape.iter().map(|&size| size as u64).collect();
        if element_count(&shape).is_none() {
            return Err(FileError::Overflow { shape });
        }
        let offset = self.start + info.data_offsets.0 as u64;
        Ok((Layout { shape, stored, offset, big_endian: false, fortran: false }, name))
    }

    /// The bytes of a tensor of the file that this is the header of.
    pub fn bytes(&self, file: &mut (impl Read + Seek), info: &TensorInfo) -> io::Result<Vec<u8>> {
        let (start, end) = info.data_offsets;
        file.seek(SeekFrom::Start(self.start + start as u64))?;
        let mut bytes = vec![0; end - start];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn list(names: &[String]) -> String {
    let mut text = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(LISTED) {
        None | Some(0) => {}
        Some(more) => text += &format!(" and {more} more"),
    }
    if text.is_empty() { "none".to_owned() } else { text }
}

/// The prefix and header of a file with one tensor.
pub fn header(name: &str, shape: &[u64], dtype: Dtype) -> Result<Vec<u8>, FileError> {
    // the format's own word for something else, and no name at all
    if name.is_empty() || name == "__metadata__" {
        return Err(FileError::TensorName(name.to_owned()));
    }
    let overflow = || FileError::Overflow { shape: shape.to_vec() };
    let count = element_count(shape).ok_or_else(overflow)?;
    let bytes = usize::try_from(count * (dtype.bitsize() as u64 / 8)).map_err(|_| overflow())?;
    let info = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": [0, bytes] });
    let mut text = serde_json::to_vec(&HashMap::from([(name, info)])).map_err(|error| FileError::Io(error.into()))?;
    // The elements start at a multiple of 8.
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.extend(text);
    Ok(header)
}
