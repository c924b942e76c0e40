//! `.safetensors`: the length of the header, the header as JSON, the elements of all tensors.
//!
//! Only the header and the wanted tensor are read, so one tensor of a file of gigabytes is cheap.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use wgpu_norm::foreign_format;

use crate::file_error::FileError;
use crate::files::{Choice, Format, Layout, Stored, check_length, element_count, first_bytes};
use crate::{elements, names};

/// Length of the number before the header.
const PREFIX: u64 = 8;
/// The limit of the format itself.
const MAX_HEADER: u64 = 100_000_000;

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
        let mut start = [0u8; PREFIX as usize + 1];
        let known = file_len.min(start.len() as u64) as usize;
        file.read_exact(&mut start[..known])?;
        let header_len = u64::from_le_bytes(*start.first_chunk().unwrap_or(&[0; 8]));
        // Every header is a JSON object. What begins otherwise may be known by its beginning.
        if known < start.len() || header_len > MAX_HEADER || start[PREFIX as usize] != b'{' {
            let beginning = [&start[..known], &first_bytes(file)?].concat();
            if let Some(is) = foreign_format(&beginning) {
                return Err(foreign(format!("it is {is}")));
            }
        }
        if file_len < PREFIX {
            return Err(foreign(format!("it has {file_len} bytes, the smallest has {PREFIX}")));
        }
        if header_len > MAX_HEADER {
            return Err(foreign(format!("a header of {header_len} bytes, at most {MAX_HEADER} are allowed")));
        }
        let end = PREFIX + header_len;
        if end > file_len {
            return Err(FileError::Truncated { expected: end, actual: file_len });
        }
        if header_len == 0 || start[PREFIX as usize] != b'{' {
            return Err(FileError::Header("it is no JSON object".to_owned()));
        }
        let mut text = vec![0u8; header_len as usize];
        text[0] = start[PREFIX as usize];
        file.read_exact(&mut text[1..])?;
        // Checks order, gaps, overlaps and the size of every tensor against its shape, without overflow.
        let metadata: Metadata = serde_json::from_slice(&text).map_err(|error| FileError::Header(error.to_string()))?;
        let all = (metadata.data_len() as u64).checked_add(end);
        check_length(all.ok_or_else(|| FileError::Header("offsets overflow".to_owned()))?, file_len)?;
        Ok(Self { metadata, start: end })
    }

    /// The tensor that is meant.
    pub fn find(&self, choice: Choice<'_>) -> Result<(String, &TensorInfo), FileError> {
        let mut names = self.metadata.offset_keys();
        names.sort();
        let name = names::choose(&names, choice)?;
        let info = self.metadata.info(&name);
        info.map(|info| (name, info)).ok_or_else(|| FileError::Header("a name without a tensor".to_owned()))
    }

    /// As [`Header::find`], with what is said of its elements.
    pub(crate) fn layout(&self, choice: Choice<'_>) -> Result<(Layout, String), FileError> {
        let (name, info) = self.find(choice)?;
        let dtype = format!("{} of tensor '{name}'", info.dtype);
        let stored = stored(info.dtype).ok_or_else(|| FileError::DataType(dtype.clone()))?;
        let shape: Vec<u64> = info.shape.iter().map(|&size| size as u64).collect();
        if element_count(&shape).is_none() {
            return Err(FileError::Overflow { shape });
        }
        let offset = self.start + info.data_offsets.0 as u64;
        Ok((Layout { shape, stored, dtype, offset, big_endian: false, fortran: false }, name))
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

/// How elements of a type are stored; `None` where they are neither floats nor whole numbers.
fn stored(dtype: Dtype) -> Option<Stored> {
    let whole = |signed| Some(Stored::Whole { bytes: dtype.bitsize() as u64 / 8, signed });
    match dtype {
        Dtype::F64 => Some(Stored::F64),
        Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => whole(true),
        Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => whole(false),
        dtype => elements::of_dtype(dtype).map(Stored::As),
    }
}

/// The prefix and header of a file with one tensor.
pub fn header(name: &str, shape: &[u64], dtype: Dtype) -> Result<Vec<u8>, FileError> {
    // the format's own word for something else, and no name at all
    if name.is_empty() || name == "__metadata__" {
        return Err(FileError::TensorName { name: name.to_owned(), format: Format::Safetensors });
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
