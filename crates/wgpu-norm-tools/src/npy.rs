//! NumPy's `.npy`, parsed and written by `npyz`; a guard in front of it stops hostile headers.
//!
//! `npyz` takes the length of a header as it stands, parses any Python literal recursively and multiplies sizes
//! unchecked. It knows no `3L` (Python 2 wrote it) and no `=f4` (others than NumPy do): they are spelt anew.

use std::io::{self, Read};

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar, WriteOptions, WriterBuilder};
use wgpu_norm::{Element, foreign_format};

use crate::file_error::FileError;
use crate::files::{Format, Layout, Stored, check_length, ended, first_bytes};

/// What every file begins with.
pub(crate) const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Magic, version and the longer of the two kinds of length; no file with a dictionary is shorter.
const PREFIX: usize = 12;
/// NumPy's own readers refuse longer headers by default too (10 000); a little more costs nothing.
const MAX_HEADER: u64 = 1 << 16;

/// Reads the header of a file of `file_len` bytes.
pub(crate) fn read_header(file: &mut impl Read, file_len: u64) -> Result<Layout, FileError> {
    let foreign = |reason: String| FileError::Foreign { format: ".npy", reason };
    let mut start = [0u8; PREFIX];
    let known = file_len.min(PREFIX as u64) as usize;
    file.read_exact(&mut start[..known]).map_err(ended)?;
    if !start[..known].starts_with(MAGIC) {
        let beginning = [&start[..known], &first_bytes(file)?].concat();
        return Err(foreign(match foreign_format(&beginning) {
            Some(is) => format!("it is {is}"),
            None if known < PREFIX => format!("it has {file_len} bytes, the smallest header has more"),
            None => "it does not begin with \\x93NUMPY".to_owned(),
        }));
    }
    if known < PREFIX {
        return Err(foreign(format!("it has {file_len} bytes, the smallest header has more")));
    }
    let (prefix, header_len) = match (start[6], start[7]) {
        (1, 0) => (10, u64::from(u16::from_le_bytes([start[8], start[9]]))),
        (2 | 3, 0) => (12, u64::from(u32::from_le_bytes([start[8], start[9], start[10], start[11]]))),
        (major, minor) => return Err(foreign(format!("version {major}.{minor} is not known"))),
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
    let text = guarded(std::str::from_utf8(text).map_err(|error| FileError::Header(error.to_string()))?)?;
    let header = NpyHeader::from_reader(rewritten(&text).as_slice());
    let header = header.map_err(|error| FileError::Header(words(&error)))?;
    let shape = header.shape().to_vec();
    let (stored, dtype, big_endian) = stored(&header.dtype())?;
    match header.len().checked_mul(stored.bytes()).and_then(|bytes| bytes.checked_add(offset)) {
        Some(end) => check_length(end, file_len)?,
        None => return Err(FileError::Overflow { shape }),
    }
    Ok(Layout { shape, stored, dtype, offset, big_endian, fortran: header.order() == Order::Fortran })
}

/// Magic, version and length before a header's text.
fn rewritten(text: &str) -> Vec<u8> {
    // the text is at most as long as what was read, and a little
    let len = (text.len() as u32).to_le_bytes();
    [MAGIC.as_slice(), &[2, 0], &len, text.as_bytes()].concat()
}

/// Lets through only what a header of plain elements is made of: a dictionary of three entries, strings without
/// escapes, `True`, `False` and one tuple of sizes whose product fits. So nothing nests, and nothing overflows. Spells
/// it as NumPy does today: Python 2 wrote `3L`, others write `=f4` and `f4`.
fn guarded(text: &str) -> Result<String, FileError> {
    // Where both quotes occur, one stands outside the other's strings and is refused below.
    let quote = if text.contains('"') { '"' } else { '\'' };
    let mut parts: Vec<String> = text.split(quote).map(str::to_owned).collect();
    let outside: String = parts.iter().step_by(2).map(String::as_str).collect();
    if outside.contains('[') {
        return Err(FileError::Structured(records(text)));
    }
    parts.iter_mut().step_by(2).for_each(|part| *part = without_long(part));
    parts.iter_mut().skip(1).step_by(2).for_each(|part| *part = little_endian(part));
    let outside: String = parts.iter().step_by(2).map(String::as_str).collect();
    let outside = outside.replace("True", " ").replace("False", " ");
    let allowed = |c: char| c.is_ascii_digit() || " \n,:(){}".contains(c);
    if outside.contains('\r') {
        let words = "it has \\r, as copying as text leaves it: copy the original again, as binary";
        return Err(FileError::Header(words.to_owned()));
    }
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
        Some(_) => Ok(parts.join(&quote.to_string())),
        None => Err(FileError::Overflow { shape }),
    }
}

/// The list of fields, cut where it is long.
fn records(text: &str) -> String {
    let list = text.find('[').map_or("", |at| &text[at..]);
    let list = list.rfind(']').map_or(list, |at| &list[..=at]);
    match list.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &list[..end]),
        None => list.to_owned(),
    }
}

/// Numbers without the `L` of Python 2's long ones.
fn without_long(part: &str) -> String {
    let mut before = ' ';
    let keep = |&c: &char| {
        let long = c == 'L' && before.is_ascii_digit();
        before = c;
        !long
    };
    part.chars().filter(keep).collect()
}

/// A type of this machine's byte order, which is little-endian wherever files come from.
fn little_endian(descr: &str) -> String {
    let native = descr.strip_prefix('=').unwrap_or(descr);
    let mut characters = native.chars();
    let bare = characters.next().is_some_and(|c| "fiub".contains(c)) && characters.as_str().parse::<u8>().is_ok();
    if bare { format!("<{native}") } else { descr.to_owned() }
}

/// The error without the parser's picture of the header, which may be long.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.lines().collect::<Vec<_>>()[..] {
        [first, .., last] => format!("{first} {last}"),
        _ => text,
    }
}

/// Type of numbers, that type in words, and whether the most significant byte comes first; every other type is an error
/// that names it.
fn stored(dtype: &DType) -> Result<(Stored, String, bool), FileError> {
    let DType::Plain(plain) = dtype else { return Err(FileError::Structured(records(&dtype.descr()))) };
    let big_endian = plain.endianness() == Endianness::Big;
    let (other, size) = (plain.type_char(), plain.size_field());
    let words = format!("{plain} ({})", words_of(other, size));
    let stored = match (other, size) {
        (TypeChar::Float, 2) => Stored::As(Element::F16),
        (TypeChar::Float, 4) => Stored::As(Element::F32),
        (TypeChar::Float, 8) => Stored::F64,
        // NumPy has no name for it: ml_dtypes, and so JAX, write raw bytes
        (TypeChar::RawData, 2) if !big_endian => Stored::As(Element::Bf16),
        (TypeChar::Int, bytes @ (1 | 2 | 4 | 8)) => Stored::Whole { bytes, signed: true },
        (TypeChar::Uint, bytes @ (1 | 2 | 4 | 8)) => Stored::Whole { bytes, signed: false },
        _ => return Err(FileError::DataType(words)),
    };
    Ok((stored, words, big_endian))
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
        _ if size == 1 => "raw bytes, as ml_dtypes writes floats of 8 bits",
        _ => "raw bytes",
    };
    words.to_owned()
}

/// The type of little-endian elements in NumPy's words.
pub(crate) fn descr(element: Element, format: Format) -> Result<&'static str, FileError> {
    match element {
        Element::F32 => Ok("<f4"),
        Element::F16 => Ok("<f2"),
        _ => Err(FileError::NotInNumpy { format, element }),
    }
}

/// The header of a row-major tensor of elements of the type `descr`.
pub(crate) fn header(shape: &[u64], descr: &str) -> Result<Vec<u8>, FileError> {
    let dtype = DType::new_scalar(descr.parse().map_err(io::Error::other)?);
    Ok(WriteOptions::new_header_only().dtype(dtype).shape(shape).writer(Vec::new()).write_header_only()?)
}
