//! Tensors in `.npy`, `.npz` and `.safetensors` files, or from standard input: the header first, with every check
//! against the length of the file, the elements later. Nothing is allocated that the file does not hold. Elements are
//! floats of 16, 32 or 64 bits in files, and f32 here.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Cursor, IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use wgpu_norm::{Element, foreign_format};

use crate::failure::Failure;
use crate::file_error::FileError;
use crate::{elements, npy, npz, safetensors_file, terminal};

pub use crate::names::Prefix;

/// Bytes read or written between two ticks of the progress bar.
pub const CHUNK: usize = 8 << 20;

/// What stands for standard input and standard output.
pub const STANDARD: &str = "-";

/// `FILE`, `FILE.safetensors:NAME` or `FILE.npz:NAME`, as options take it.
#[derive(Clone, Debug)]
pub struct TensorSpec {
    /// The file; `-` is standard input.
    pub path: PathBuf,
    /// The tensor in it.
    pub name: Option<String>,
}

impl From<OsString> for TensorSpec {
    fn from(value: OsString) -> Self {
        const MARKS: [&str; 2] = [".safetensors:", ".npz:"];
        let Some(text) = value.to_str() else { return Self { path: value.into(), name: None } };
        // the last mark: a path may hold others
        let ends = MARKS.iter().filter_map(|mark| text.rfind(mark).map(|at| at + mark.len() - 1));
        match ends.max() {
            Some(end) => Self { path: text[..end].into(), name: Some(text[end + 1..].to_owned()) },
            None => Self { path: value.into(), name: None },
        }
    }
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// NumPy's, of one tensor.
    Npy,
    /// NumPy's archives of `.npy` files.
    Npz,
    /// Of the crate of that name.
    Safetensors,
}

impl Format {
    /// By the file's name.
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        match extension.as_deref() {
            Some("npy") => Some(Self::Npy),
            Some("npz") => Some(Self::Npz),
            Some("safetensors") => Some(Self::Safetensors),
            _ => None,
        }
    }

    /// By the first bytes.
    fn of_bytes(bytes: &[u8]) -> Self {
        match bytes {
            [b'P', b'K', ..] => Self::Npz,
            bytes if bytes.starts_with(npy::MAGIC) => Self::Npy,
            _ => Self::Safetensors,
        }
    }
}

/// How a file stores an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// In a type that norms have.
    As(Element),
    /// As a 64-bit float, which is read as f32.
    F64,
    /// As a whole number of so many bytes, which counters have, and tensors may not.
    Whole { bytes: u64, signed: bool },
}

impl Stored {
    /// Bytes of one element.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::As(element) => element.bytes(),
            Self::F64 => 8,
            Self::Whole { bytes, .. } => bytes,
        }
    }

    /// The values whose bytes these are, the least significant first.
    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::As(element) => elements::decode(bytes, element),
            Self::F64 => bytes.as_chunks().0.iter().map(|&value| f64::from_le_bytes(value) as f32).collect(),
            Self::Whole { .. } => bytes.chunks(self.bytes() as usize).map(|one| self.number(one) as f32).collect(),
        }
    }

    /// One number, exact below 2^53.
    fn number(self, bytes: &[u8]) -> f64 {
        match self {
            Self::F64 => bytes.first_chunk().map_or(f64::NAN, |&value| f64::from_le_bytes(value)),
            Self::As(_) => self.decode(bytes).first().map_or(f64::NAN, |&value| value.into()),
            Self::Whole { signed, .. } => {
                let negative = signed && bytes.last().is_some_and(|&last| last >= 0x80);
                let mut wide = [if negative { 0xff } else { 0 }; 16];
                wide[..bytes.len()].copy_from_slice(bytes);
                i128::from_le_bytes(wide) as f64
            }
        }
    }
}

/// What a header says of one tensor's elements.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    /// Sizes of the axes, outermost first.
    pub(crate) shape: Vec<u64>,
    /// Type of the elements.
    pub(crate) stored: Stored,
    /// The type in the file's own words.
    pub(crate) dtype: String,
    /// Where the elements start in the file, or in the member of an archive.
    pub(crate) offset: u64,
    /// Most significant byte first.
    pub(crate) big_endian: bool,
    /// First axis fastest.
    pub(crate) fortran: bool,
}

/// What files are read from.
pub trait Source: Read + Seek {}

impl<T: Read + Seek> Source for T {}

/// Where the elements are.
enum Origin {
    /// In a file.
    File(Box<dyn Source>),
    /// In a member of an archive, by its number.
    Member(npz::Archive, usize),
}

impl Origin {
    /// Reads on from an offset.
    fn at(&mut self, offset: u64) -> Result<Box<dyn Read + '_>, FileError> {
        match self {
            Self::File(source) => {
                source.seek(SeekFrom::Start(offset))?;
                Ok(Box::new(source))
            }
            Self::Member(archive, number) => {
                let mut member = archive.member(*number)?;
                io::copy(&mut (&mut member).take(offset), &mut io::sink())?;
                Ok(Box::new(member))
            }
        }
    }
}

/// Which tensor of a file is meant, where it holds several.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// Its name.
    pub name: Option<&'a str>,
    /// What stands before the name in the file; `None`: nothing, or the only thing with which there is such a name.
    pub prefix: Option<&'a str>,
    /// How the caller may choose among several.
    pub option: &'static str,
}

/// A tensor whose header is read and found good.
pub struct TensorFile {
    path: PathBuf,
    origin: Origin,
    layout: Layout,
    len: usize,
    /// Name of the tensor, where it has one.
    pub name: Option<String>,
}

impl TensorFile {
    /// Reads and checks the header of a tensor of floats. `option` is that of a [`Choice`].
    pub fn open(spec: &TensorSpec, prefix: &Prefix<'_>, option: &'static str) -> Result<Self, Failure> {
        let file = Self::open_any(spec, prefix, option)?;
        file.require_floats().map_err(|error| Failure::file(&file.path, error))?;
        if file.layout.stored == Stored::F64 {
            terminal::note(&format!("{}: 64-bit floats, rounded to 32 bits", file.path.display()));
        }
        Ok(file)
    }

    /// As [`TensorFile::open`], of bytes in memory, in a file that is called so.
    pub fn of_bytes(path: &Path, format: Format, bytes: Vec<u8>, choice: Choice<'_>) -> Result<Self, FileError> {
        let len = bytes.len() as u64;
        let file = Self::of_source(path, format, Box::new(Cursor::new(bytes)), len, choice)?;
        file.require_floats()?;
        Ok(file)
    }

    /// As [`TensorFile::open`], of numbers of any type.
    fn open_any(spec: &TensorSpec, prefix: &Prefix<'_>, option: &'static str) -> Result<Self, Failure> {
        let choice = Choice { name: spec.name.as_deref(), prefix: prefix.given(), option };
        let is_standard = spec.path == Path::new(STANDARD);
        let path = if is_standard { Path::new("standard input") } else { &spec.path };
        let opened = if is_standard { Self::of_input(path, choice) } else { Self::of_file(path, choice) };
        let file = opened.map_err(|error| Failure::file(path, error))?;
        if let (Some(found), Some(wanted), None) = (&file.name, choice.name, choice.prefix)
            && let Some(before) = found.strip_suffix(wanted).filter(|before| !before.is_empty())
        {
            prefix.agree(path, wanted, before).map_err(|error| Failure::file(path, error))?;
            terminal::note(&format!("{}: '{found}' is taken for '{wanted}'", path.display()));
        }
        Ok(file)
    }

    fn of_input(path: &Path, choice: Choice<'_>) -> Result<Self, FileError> {
        let bytes = standard_input()?;
        let (len, format) = (bytes.len() as u64, Format::of_bytes(&bytes));
        Self::of_source(path, format, Box::new(Cursor::new(bytes)), len, choice)
    }

    fn of_file(path: &Path, choice: Choice<'_>) -> Result<Self, FileError> {
        let metadata = std::fs::metadata(path)?;
        // Asked before opening: to open a pipe without a writer would wait for one.
        if !metadata.is_file() {
            return Err(FileError::NotRegular);
        }
        let mut file = File::open(path)?;
        let format = Format::of(path).ok_or_else(|| unknown(&mut file))?;
        Self::of_source(path, format, Box::new(file), metadata.len(), choice)
    }

    fn of_source(
        path: &Path,
        format: Format,
        mut source: Box<dyn Source>,
        len: u64,
        choice: Choice<'_>,
    ) -> Result<Self, FileError> {
        let (origin, layout, name) = match format {
            Format::Npy => match choice.name {
                Some(name) => return Err(FileError::NoNames(name.to_owned())),
                None => {
                    let layout = npy::read_header(&mut source, len)?;
                    (Origin::File(source), layout, None)
                }
            },
            Format::Npz => {
                let mut archive = npz::Archive::open(source, len)?;
                let (number, layout, name) = archive.find(choice)?;
                (Origin::Member(archive, number), layout, Some(name))
            }
            Format::Safetensors => {
                let header = safetensors_file::Header::read(&mut source, len)?;
                let (layout, name) = header.layout(choice)?;
                (Origin::File(source), layout, Some(name))
            }
        };
        // The header reader has compared this very product with the length of the file.
        let len = element_count(&layout.shape).and_then(|len| usize::try_from(len).ok());
        let len = len.ok_or_else(|| FileError::Overflow { shape: layout.shape.clone() })?;
        Ok(Self { path: path.to_owned(), origin, layout, len, name })
    }

    fn require_floats(&self) -> Result<(), FileError> {
        match self.layout.stored {
            Stored::Whole { .. } => Err(FileError::DataType(self.layout.dtype.clone())),
            Stored::As(_) | Stored::F64 => Ok(()),
        }
    }

    /// Sizes of the axes, outermost first.
    pub fn shape(&self) -> &[u64] {
        &self.layout.shape
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.len as u64
    }

    /// The type of the elements; f32 where the file has 64-bit floats.
    pub fn element(&self) -> Element {
        match self.layout.stored {
            Stored::As(element) => element,
            Stored::F64 | Stored::Whole { .. } => Element::F32,
        }
    }

    /// Reads the elements, into row-major order.
    pub fn read(mut self) -> Result<Vec<f32>, Failure> {
        let mut data = zeroed(self.len, &self.path.display().to_string())?;
        self.read_into(&mut data).map_err(|error| Failure::file(&self.path, error))?;
        if self.layout.fortran && self.layout.shape.len() > 1 { self.row_major(&data) } else { Ok(data) }
    }

    /// Reads the elements in the order in which they lie.
    fn read_into(&mut self, data: &mut [f32]) -> Result<(), FileError> {
        let Layout { stored, offset, big_endian, .. } = self.layout;
        let size = stored.bytes() as usize;
        let mut bytes = vec![0; CHUNK.min(self.len * size)];
        let bar = terminal::progress("reading", self.elements() * stored.bytes(), true);
        let mut source = self.origin.at(offset)?;
        for values in data.chunks_mut(CHUNK / size) {
            let bytes = &mut bytes[..values.len() * size];
            source.read_exact(bytes).map_err(ended)?;
            if big_endian {
                bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
            }
            values.copy_from_slice(&stored.decode(bytes));
            bar.inc(bytes.len() as u64);
        }
        bar.finish_and_clear();
        // an archive compares its checksum where a member ends
        io::copy(&mut source.take(1), &mut io::sink())?;
        Ok(())
    }

    /// The elements of a column-major tensor in row-major order.
    fn row_major(&self, data: &[f32]) -> Result<Vec<f32>, Failure> {
        let shape = &self.layout.shape;
        let mut strides = vec![1usize; shape.len()];
        for axis in 1..shape.len() {
            strides[axis] = strides[axis - 1].saturating_mul(shape[axis - 1] as usize);
        }
        let mut out = zeroed(data.len(), &self.path.display().to_string())?;
        let (mut index, mut from) = (vec![0u64; shape.len()], 0usize);
        for value in &mut out {
            *value = data[from];
            // Counts up the row-major index, the last axis fastest, and moves `from` along.
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                from += strides[axis];
                if index[axis] < shape[axis] {
                    break;
                }
                from -= strides[axis] * index[axis] as usize;
                index[axis] = 0;
            }
        }
        Ok(out)
    }
}

/// The one number of a file as a counter of batches: an integer or a whole float of any size, of any shape of ones.
pub fn read_counter(spec: &TensorSpec, prefix: &Prefix<'_>) -> Result<u32, Failure> {
    let mut file = TensorFile::open_any(spec, prefix, "FILE:NAME")?;
    let mut number = || {
        if file.len != 1 {
            return Err(FileError::NotOneNumber { shape: file.layout.shape.clone() });
        }
        let Layout { stored, offset, big_endian, .. } = file.layout;
        let mut bytes = vec![0; stored.bytes() as usize];
        file.origin.at(offset)?.read_exact(&mut bytes).map_err(ended)?;
        if big_endian {
            bytes.reverse();
        }
        let value = stored.number(&bytes);
        // one more has to be counted yet
        let counts = value.fract() == 0.0 && (0.0..f64::from(u32::MAX)).contains(&value);
        if counts { Ok(value as u32) } else { Err(FileError::NoCounter { value }) }
    };
    number().map_err(|error| Failure::file(&file.path, error))
}

/// All of standard input, which can be had once.
fn standard_input() -> Result<Vec<u8>, FileError> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(FileError::Taken);
    }
    if io::stdin().is_terminal() {
        return Err(FileError::Terminal);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What is said of a file whose name tells nothing.
fn unknown(file: &mut impl Read) -> FileError {
    FileError::UnknownFormat(first_bytes(file).ok().and_then(|start| foreign_format(&start)))
}

/// As many bytes as tell what a file is.
pub(crate) fn first_bytes(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    file.take(4096).read_to_end(&mut start)?;
    Ok(start)
}

/// The elements are fewer than the length of the file promised.
pub(crate) fn ended(error: io::Error) -> FileError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => FileError::Ended,
        _ => FileError::Io(error),
    }
}

/// Product of the sizes, or `None` where it or its bytes in any type overflow.
pub fn element_count(shape: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    let count = shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size))?;
    count.checked_mul(8).map(|_| count)
}

/// Compares the length of a file with what its header says.
pub(crate) fn check_length(expected: u64, actual: u64) -> Result<(), FileError> {
    match actual.cmp(&expected) {
        std::cmp::Ordering::Less => Err(FileError::Truncated { expected, actual }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(FileError::Trailing { expected, actual }),
    }
}

/// `len` zeros, or an error where the system has no memory for them.
pub fn zeroed(len: usize, what: &str) -> Result<Vec<f32>, Failure> {
    let mut data = Vec::new();
    data.try_reserve_exact(len)
        .map_err(|_| Failure::Memory { what: what.to_owned(), needed: (len as u64).saturating_mul(4) })?;
    data.resize(len, 0.0);
    Ok(data)
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
