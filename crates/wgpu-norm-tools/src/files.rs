//! Tensors in `.npy` and `.safetensors` files: the header first, with every check against the length of the file, the
//! elements later. Nothing is allocated that the file does not hold. Elements are floats of 16, 32 or 64 bits in files,
//! and f32 here.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use wgpu_norm::Element;

use crate::failure::Failure;
use crate::{elements, npy, safetensors_file, terminal};

/// Bytes read or written between two ticks of the progress bar.
pub const CHUNK: usize = 8 << 20;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system's words.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No name for a tensor.
    #[error("a tensor cannot be called {0:?} in a .safetensors file")]
    TensorName(String),
    /// A folder, a pipe, a device.
    #[error("not a regular file")]
    NotRegular,
    /// Neither `.npy` nor `.safetensors`.
    #[error("unknown kind of file, .npy and .safetensors are supported")]
    UnknownFormat,
    /// The first bytes are not those of the format.
    #[error("not a {format} file: {reason}")]
    Foreign {
        /// The format its name promises.
        format: &'static str,
        /// What is there instead.
        reason: String,
    },
    /// The header cannot be understood.
    #[error("corrupt header: {0}")]
    Header(String),
    /// Fewer bytes than the header says.
    #[error("truncated: {expected} bytes by its header, {actual} in the file")]
    Truncated {
        /// Length by the header.
        expected: u64,
        /// Length of the file.
        actual: u64,
    },
    /// More bytes than the header says.
    #[error("trailing bytes: {expected} bytes by its header, {actual} in the file")]
    Trailing {
        /// Length by the header.
        expected: u64,
        /// Length of the file.
        actual: u64,
    },
    /// Not a tensor of floats.
    #[error("element type {0} is not supported, only floats of 16, 32 and 64 bits are")]
    DataType(String),
    /// NumPy has no such type.
    #[error("a .npy file cannot hold {0}; a .safetensors file can, or choose --dtype f16 or f32")]
    NotInNpy(Element),
    /// The shape's product cannot be addressed.
    #[error("shape {shape:?} has more elements than can be addressed")]
    Overflow {
        /// The shape.
        shape: Vec<u64>,
    },
    /// No tensor of that name.
    #[error("no tensor '{name}'; it holds {available}")]
    NoSuchTensor {
        /// The name asked for.
        name: String,
        /// What there is.
        available: String,
    },
    /// Several tensors and no name.
    #[error("several tensors, name one with {option}: {available}")]
    ChooseTensor {
        /// How to name one.
        option: &'static str,
        /// What there is.
        available: String,
    },
    /// A name for a file whose tensor has none.
    #[error("a .npy file holds one tensor without a name, '{0}' cannot be chosen")]
    NoNames(String),
    /// Several tensors for a file that holds one.
    #[error("a .npy file holds one tensor, a .safetensors file is needed")]
    OneTensor,
    /// An output that is already there.
    #[error("exists already; --force replaces it")]
    Exists,
    /// An output that is an input too.
    #[error("the output is the input {}", .0.display())]
    OutputIsInput(PathBuf),
    /// Two outputs in one file.
    #[error("two outputs would go there")]
    SameOutputs,
    /// The output's folder is not there.
    #[error("folder {} does not exist", .0.display())]
    NoFolder(PathBuf),
}

/// `FILE` or `FILE.safetensors:NAME`, as options take it.
#[derive(Clone, Debug)]
pub struct TensorSpec {
    /// The file.
    pub path: PathBuf,
    /// The tensor in it.
    pub name: Option<String>,
}

impl From<OsString> for TensorSpec {
    fn from(value: OsString) -> Self {
        const MARK: &str = ".safetensors:";
        if let Some(text) = value.to_str()
            && let Some(at) = text.rfind(MARK)
        {
            let (path, name) = (&text[..at + MARK.len() - 1], &text[at + MARK.len()..]);
            return Self { path: path.into(), name: Some(name.to_owned()) };
        }
        Self { path: value.into(), name: None }
    }
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// NumPy's.
    Npy,
    /// Of the crate of that name.
    Safetensors,
}

impl Format {
    /// By the file's name.
    pub fn of(path: &Path) -> Result<Self, Failure> {
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        match extension.as_deref() {
            Some("npy") => Ok(Self::Npy),
            Some("safetensors") => Ok(Self::Safetensors),
            _ => Err(Failure::file(path, FileError::UnknownFormat)),
        }
    }
}

/// How a file stores an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// In a type that norms have.
    As(Element),
    /// As a 64-bit float, which is read as f32.
    F64,
}

impl Stored {
    /// Bytes of one element.
    pub fn bytes(self) -> u64 {
        match self {
            Self::As(element) => element.bytes(),
            Self::F64 => 8,
        }
    }

    /// The values whose bytes these are, the least significant first.
    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::As(element) => elements::decode(bytes, element),
            Self::F64 => bytes.as_chunks().0.iter().map(|&value| f64::from_le_bytes(value) as f32).collect(),
        }
    }
}

/// What a header says of one tensor's elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Sizes of the axes, outermost first.
    pub shape: Vec<u64>,
    /// Type of the elements.
    pub stored: Stored,
    /// Where the elements start in the file.
    pub offset: u64,
    /// Most significant byte first.
    pub big_endian: bool,
    /// First axis fastest.
    pub fortran: bool,
}

/// A tensor whose header is read and found good.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    file: File,
    layout: Layout,
    len: usize,
    /// Name of the tensor, where it has one.
    pub name: Option<String>,
}

impl TensorFile {
    /// Reads and checks the header. `option` is how the caller may choose among several tensors.
    pub fn open(spec: &TensorSpec, option: &'static str) -> Result<Self, Failure> {
        let fail = |error| Failure::file(&spec.path, error);
        let format = Format::of(&spec.path)?;
        let metadata = std::fs::metadata(&spec.path).map_err(|error| fail(error.into()))?;
        // Asked before opening: to open a pipe without a writer would wait for one.
        if !metadata.is_file() {
            return Err(fail(FileError::NotRegular));
        }
        let mut file = File::open(&spec.path).map_err(|error| fail(error.into()))?;
        let (layout, name) = match format {
            Format::Npy => match &spec.name {
                Some(name) => return Err(fail(FileError::NoNames(name.clone()))),
                None => (npy::read_header(&mut file, metadata.len()).map_err(fail)?, None),
            },
            Format::Safetensors => {
                let header = safetensors_file::Header::read(&mut file, metadata.len()).map_err(fail)?;
                let (layout, name) = header.layout(spec.name.as_deref(), option).map_err(fail)?;
                (layout, Some(name))
            }
        };
        // The header reader has compared this very product with the length of the file.
        let len = element_count(&layout.shape).and_then(|len| usize::try_from(len).ok());
        let len = len.ok_or_else(|| fail(FileError::Overflow { shape: layout.shape.clone() }))?;
        Ok(Self { path: spec.path.clone(), file, layout, len, name })
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
            Stored::F64 => Element::F32,
        }
    }

    /// Reads the elements, into row-major order.
    pub fn read(mut self) -> Result<Vec<f32>, Failure> {
        let Layout { stored, offset, big_endian, .. } = self.layout;
        if stored == Stored::F64 {
            terminal::note(&format!("{}: 64-bit floats, rounded to 32 bits", self.path.display()));
        }
        let size = stored.bytes() as usize;
        let mut data = zeroed(self.len, &self.path.display().to_string())?;
        let mut bytes = vec![0; CHUNK.min(self.len * size)];
        let bar = terminal::progress("reading", self.elements() * stored.bytes(), true);
        let fail = |error: io::Error| Failure::file(&self.path, error);
        self.file.seek(SeekFrom::Start(offset)).map_err(fail)?;
        for values in data.chunks_mut(CHUNK / size) {
            let bytes = &mut bytes[..values.len() * size];
            self.file.read_exact(bytes).map_err(fail)?;
            if big_endian {
                bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
            }
            values.copy_from_slice(&stored.decode(bytes));
            bar.inc(bytes.len() as u64);
        }
        bar.finish_and_clear();
        if self.layout.fortran && self.layout.shape.len() > 1 { self.row_major(&data) } else { Ok(data) }
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

/// Product of the sizes, or `None` where it or its bytes in any type overflow.
pub fn element_count(shape: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    let count = shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size))?;
    count.checked_mul(8).map(|_| count)
}

/// Compares the length of a file with what its header says.
pub fn check_length(expected: u64, actual: u64) -> Result<(), FileError> {
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
