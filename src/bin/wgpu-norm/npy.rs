//! NumPy's `.npy`: magic, version, length of the header, a Python dictionary, the elements.
//!
//! The dictionary is read by a parser of just the three entries that the format knows: a general parser of Python
//! literals is recursive, and a hostile file could make it overflow the stack.

use std::io::Read;

use crate::files::{FileError, Layout, check_length, element_count};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// NumPy's own readers refuse longer headers by default too (10 000); a little more costs nothing.
const MAX_HEADER: u64 = 1 << 16;

/// Reads the header of a file of `file_len` bytes.
pub fn read_header(file: &mut impl Read, file_len: u64) -> Result<Layout, FileError> {
    let foreign = |reason: &str| FileError::Foreign { format: ".npy", reason: reason.to_owned() };
    if file_len < 10 {
        return Err(foreign(&format!("it has {file_len} bytes, the smallest header has 10")));
    }
    let mut start = [0u8; 10];
    file.read_exact(&mut start)?;
    if start[..6] != *MAGIC {
        return Err(foreign("it does not begin with \\x93NUMPY"));
    }
    let (prefix, header_len) = match (start[6], start[7]) {
        (1, 0) => (10, u64::from(u16::from_le_bytes([start[8], start[9]]))),
        (2 | 3, 0) => {
            let mut rest = [0u8; 2];
            file.read_exact(&mut rest)?;
            (12, u64::from(u32::from_le_bytes([start[8], start[9], rest[0], rest[1]])))
        }
        (major, minor) => return Err(foreign(&format!("version {major}.{minor} is not known"))),
    };
    let offset = prefix + header_len;
    if offset > file_len {
        return Err(FileError::Truncated { expected: offset, actual: file_len });
    }
    if header_len > MAX_HEADER {
        return Err(FileError::Header(format!("{header_len} bytes of text, at most {MAX_HEADER} are read")));
    }
    let mut text = vec![0u8; header_len as usize];
    file.read_exact(&mut text)?;
    let text = std::str::from_utf8(&text).map_err(|error| FileError::Header(error.to_string()))?;
    let (fortran, big_endian, shape) = Parser { text, at: 0 }.dictionary()?;
    let count = element_count(&shape).ok_or_else(|| FileError::Overflow { shape: shape.clone() })?;
    let end = (count * 4).checked_add(offset).ok_or_else(|| FileError::Overflow { shape: shape.clone() })?;
    check_length(end, file_len)?;
    Ok(Layout { shape, offset, big_endian, fortran })
}

/// The header of a row-major tensor of little-endian f32.
pub fn header(shape: &[u64]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    // Python writes a tuple of one as `(3,)`, of none as `()`.
    let sizes = if shape.len() == 1 { sizes.trim_end() } else { sizes.trim_end_matches(", ") };
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sizes}), }}");
    // The elements start at a multiple of 64, as NumPy has it.
    let padded = (10 + text.len() + 1).next_multiple_of(64) - 10;
    text.extend(std::iter::repeat_n(' ', padded - 1 - text.len()));
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    // Rank 8 at most, 20 digits a size: far below 64 KiB.
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    /// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }` in any order of entries.
    fn dictionary(mut self) -> Result<(bool, bool, Vec<u64>), FileError> {
        let (mut order, mut endian, mut shape) = (None, None, None);
        self.expect("{")?;
        while !self.accept("}") {
            let key = self.string()?;
            self.expect(":")?;
            match key {
                "descr" if endian.is_none() => endian = Some(self.element_type()?),
                "fortran_order" if order.is_none() => order = Some(self.boolean()?),
                "shape" if shape.is_none() => shape = Some(self.shape()?),
                _ => return Err(FileError::Header(format!("unknown or repeated entry '{key}'"))),
            }
            if !self.accept(",") {
                self.expect("}")?;
                break;
            }
        }
        if !self.rest().is_empty() {
            return Err(self.error("nothing more"));
        }
        match (order, endian, shape) {
            (Some(order), Some(endian), Some(shape)) => Ok((order, endian, shape)),
            _ => Err(FileError::Header("one of descr, fortran_order, shape is missing".to_owned())),
        }
    }

    /// Whether the elements are big-endian f32; every other type is an error that names it.
    fn element_type(&mut self) -> Result<bool, FileError> {
        let rest = self.rest();
        if rest.starts_with(['[', '(']) {
            return Err(FileError::DataType(format!("{} (structured)", excerpt(rest))));
        }
        match self.string()? {
            "<f4" => Ok(false),
            ">f4" => Ok(true),
            "=f4" => Ok(cfg!(target_endian = "big")),
            other => Err(FileError::DataType(describe(other))),
        }
    }

    fn shape(&mut self) -> Result<Vec<u64>, FileError> {
        let mut shape = Vec::new();
        self.expect("(")?;
        while !self.accept(")") {
            shape.push(self.integer()?);
            if !self.accept(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(shape)
    }

    fn integer(&mut self) -> Result<u64, FileError> {
        let rest = self.rest();
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let value = rest[..digits].parse().map_err(|_| self.error("a size"))?;
        self.at += digits;
        // Python 2 wrote `3L`.
        self.accept("L");
        Ok(value)
    }

    fn boolean(&mut self) -> Result<bool, FileError> {
        if self.accept("True") {
            return Ok(true);
        }
        self.expect("False").map(|()| false)
    }

    fn string(&mut self) -> Result<&'a str, FileError> {
        let rest = self.rest();
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"')).ok_or_else(|| self.error("a string"))?;
        let end = rest[1..].find(quote).ok_or_else(|| self.error("a string that ends"))?;
        self.at += end + 2;
        Ok(&rest[1..=end])
    }

    fn expect(&mut self, token: &'static str) -> Result<(), FileError> {
        if self.accept(token) { Ok(()) } else { Err(self.error(token)) }
    }

    fn accept(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    /// What is left, white space skipped.
    fn rest(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed.trim_end()
    }

    fn error(&mut self, wanted: &str) -> FileError {
        let found = self.rest();
        let found = if found.is_empty() { "its end".to_owned() } else { format!("'{}'", excerpt(found)) };
        FileError::Header(format!("expected {wanted}, found {found}"))
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(40).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A NumPy type in words.
fn describe(descr: &str) -> String {
    let kind = descr.trim_start_matches(['<', '>', '=', '|']);
    let words = match kind {
        "f2" => "float16",
        "f8" => "float64",
        "f16" => "float128",
        "O" => "pickled Python object",
        "b1" => "bool",
        _ => match kind.chars().next() {
            Some('i') => "signed integer",
            Some('u') => "unsigned integer",
            Some('c') => "complex",
            Some('S' | 'U' | 'a') => "text",
            Some('M' | 'm') => "date or time",
            _ => "unknown",
        },
    };
    format!("{} ({words})", excerpt(descr))
}
