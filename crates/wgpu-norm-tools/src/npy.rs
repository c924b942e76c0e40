//! NumPy's `.npy`, parsed and written by `npyz`; a guard in front of it stops hostile headers.
//!
//! `npyz` takes the length of a header as it stands, parses any Python literal recursively and multiplies sizes
//! unchecked. It knows no `=f4` (NumPy writes none) and no `3L` (Python 2 wrote it): both are errors.

use std::io::{self, Read};

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar, WriteOptions, WriterBuilder};
use wgpu_norm::Element;

use crate::files::{FileError, Layout, Stored, check_length};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Magic, version and the longer of the two kinds of length; no file with a dictionary is shorter.
const PREFIX: usize = 12;
/// NumPy's own readers refuse longer headers by default too (10 000); a little more costs nothing.
const MAX_HEADER: u64 = 1 << 16;

/// Reads the header of a file of `file_len` bytes.
pub(crate) fn read_header(file: &mut impl Read, file_len: u64) -> Result<Layout, FileError> {
    let foreign = |reason: &str| FileError::Foreign { format: ".npy", reason: reason.to_owned() };
    if file_len < PREFIX as u64 {
        return Err(foreign(&format!("it has {file_len} bytes, the smallest header has more")));
    }
    let mut start = [0u8; PREFIX];
    file.read_exact(&mut start)?;
    if start[..6] != *MAGIC {
        return Err(foreign("it does not begin with \\x93NUMPY"));
    }
    let (prefix, header_len) = match (start[6], start[7]) {
        (1, 0) => (10, u64::from(u16::from_le_bytes([start[8], start[9]]))),
        (2 | 3, 0) => (12, u64::from(u32::from_le_bytes([start[8], start[9], start[10], start[11]]))),
        (major, minor) => return Err(foreign(&format!("version {major}.{minor} is not known"))),
    };
    let offset = prefix + header_len;
    if offset > file_len {
        return Err(FileError::Truncated { expected: offset, actual: file_len });
    }
    if header_len > MAX_HEADER {
        return Err(FileError::Header(format!("{header_len} bytes of text, at most {MAX_HEADER} are read")));
    }
    let mut bytes = start.to_vec();
    file.take(offset.saturating_sub(PREFIX as u64)).read_to_end(&mut bytes)?;
    // Shorter only if the file shrank since it was measured.
    let text = bytes.get(prefix as usize..offset as usize);
    let text = text.ok_or(FileError::Truncated { expected: offset, actual: bytes.len() as u64 })?;
    guard(std::str::from_utf8(text).map_err(|error| FileError::Header(error.to_string()))?)?;
    let header = NpyHeader::from_reader(bytes.as_slice()).map_err(|error| FileError::Header(words(&error)))?;
    let shape = header.shape().to_vec();
    let (stored, big_endian) = stored(&header.dtype())?;
    match header.len().checked_mul(stored.bytes()).and_then(|bytes| bytes.checked_add(offset)) {
        Some(end) => check_length(end, file_len)?,
        None => return Err(FileError::Overflow { shape }),
    }
    Ok(Layout { shape, stored, offset, big_endian, fortran: header.order() == Order::Fortran })
}

/// Lets through only what a header of plain elements is made of: a dictionary of three entries, strings without
/// escapes, `True`, `False` and one tuple of sizes whose product fits. So nothing nests, and nothing overflows.
fn guard(text: &str) -> Result<(), FileError> {
    // Where both quotes occur, one stands outside the other's strings and is refused below.
    let quote = if text.contains('"') { '"' } else { '\'' };
    let outside: String = text.split(quote).step_by(2).collect();
    if outside.contains('[') {
        return Err(FileError::DataType("[...] (structured)".to_owned()));
    }
    let outside = outside.replace("True", " ").replace("False", " ");
    let allowed = |c: char| c.is_ascii_digit() || " \n,:(){}".contains(c);
    if let Some(c) = text.chars().find(|&c| c == '\\').or_else(|| outside.chars().find(|&c| !allowed(c))) {
        return Err(FileError::Header(format!("unexpected {c:?}")));
    }
    let skeleton: String = outside.chars().filter(|&c| ":(){}".contains(c)).collect();
    if !["{:()::}", "{::():}", "{:::()}"].contains(&skeleton.as_str()) {
        return Err(FileError::Header("no dictionary of just descr, fortran_order and shape".to_owned()));
    }
    // A number that is none of u64 is left for npyz to name.
    let shape: Vec<u64> = outside.split(|c: char| !c.is_ascii_digit()).filter_map(|size| size.parse().ok()).collect();
    // An empty axis does not hide the others: strides are products of some of the sizes.
    match shape.iter().try_fold(4u64, |bytes, &size| bytes.checked_mul(size.max(1))) {
        Some(_) => Ok(()),
        None => Err(FileError::Overflow { shape }),
    }
}

/// The error without the parser's picture of the header, which may be long.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.lines().collect::<Vec<_>>()[..] {
        [first, .., last] => format!("{first} {last}"),
        _ => text,
    }
}

/// Type of floats, and whether the most significant byte comes first; every other type is an error that names it.
fn stored(dtype: &DType) -> Result<(Stored, bool), FileError> {
    let DType::Plain(plain) = dtype else { return Err(FileError::DataType(dtype.descr())) };
    let big_endian = plain.endianness() == Endianness::Big;
    let words = match (plain.type_char(), plain.size_field()) {
        (TypeChar::Float, 2) => return Ok((Stored::As(Element::F16), big_endian)),
        (TypeChar::Float, 4) => return Ok((Stored::As(Element::F32), big_endian)),
        (TypeChar::Float, 8) => return Ok((Stored::F64, big_endian)),
        (other, size) => words_of(other, size),
    };
    Err(FileError::DataType(format!("{plain} ({words})")))
}

/// What elements of a type that is not read are.
fn words_of(other: TypeChar, size: u64) -> String {
    let words = match other {
        TypeChar::Float => return format!("float{}", size * 8),
        TypeChar::Object => "pickled Python object",
        TypeChar::Bool => "bool",
        TypeChar::Int => "signed integer",
        TypeChar::Uint => "unsigned integer",
        TypeChar::Complex => "complex",
        TypeChar::ByteStr | TypeChar::UnicodeStr => "text",
        TypeChar::DateTime | TypeChar::TimeDelta => "date or time",
        _ => "raw bytes",
    };
    words.to_owned()
}

/// The type of little-endian elements in NumPy's words.
pub(crate) fn descr(element: Element) -> Result<&'static str, FileError> {
    match element {
        Element::F32 => Ok("<f4"),
        Element::F16 => Ok("<f2"),
        _ => Err(FileError::NotInNpy(element)),
    }
}

/// The header of a row-major tensor of elements of the type `descr`.
pub(crate) fn header(shape: &[u64], descr: &str) -> Result<Vec<u8>, FileError> {
    let dtype = DType::new_scalar(descr.parse().map_err(io::Error::other)?);
    Ok(WriteOptions::new_header_only().dtype(dtype).shape(shape).writer(Vec::new()).write_header_only()?)
}
