//! `.npz`: a zip archive of `.npy` files, read and written by the crate `zip`.
//!
//! The crate reads stored and deflated members here, with the sizes of zip64; what those sizes promise is compared with
//! what the archive has bytes for, before anything is allocated.

use std::io::{Seek, SeekFrom, Write};

use wgpu_norm::foreign_format;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::file_error::FileError;
use crate::files::{Choice, Format, Layout, Source, first_bytes};
use crate::{names, npy};

/// What a member is called behind the name of its tensor.
const EXTENSION: &str = ".npy";
/// A byte of a deflated member is at most so many: a length of 258 takes two bits.
const EXPANSION: u64 = 1032;
/// Lengths of members from here on need zip64.
const LARGE: u64 = u32::MAX as u64;

/// An archive whose list of members is read.
pub(crate) struct Archive {
    zip: ZipArchive<Box<dyn Source>>,
}

impl Archive {
    /// Reads the list of members of a file of `file_len` bytes.
    pub(crate) fn open(mut source: Box<dyn Source>, file_len: u64) -> Result<Self, FileError> {
        let start = first_bytes(&mut source)?;
        let foreign = |reason: String| FileError::Foreign { format: ".npz", reason };
        let is = || foreign_format(&start);
        if !start.starts_with(b"PK") {
            let reason = is().map(|is| format!("it is {is}"));
            return Err(foreign(reason.unwrap_or_else(|| "it does not begin with PK, as zip archives do".to_owned())));
        }
        source.seek(SeekFrom::Start(0))?;
        let zip = ZipArchive::new(source).map_err(|error| match error {
            // the list stands at the end
            ZipError::InvalidArchive(why) => {
                FileError::Header(format!("{why}: of its {file_len} bytes the last ones may be missing"))
            }
            other => FileError::Io(other.into()),
        })?;
        if zip.has_duplicate_names() {
            return Err(FileError::Header("several members have the same name".to_owned()));
        }
        let archive = Self { zip };
        if archive.arrays().next().is_some() || archive.zip.is_empty() {
            return Ok(archive);
        }
        Err(foreign(format!("it is {}", is().unwrap_or_else(|| "a zip archive without .npy files".to_owned()))))
    }

    /// Number and name of each tensor.
    fn arrays(&self) -> impl Iterator<Item = (usize, String)> {
        (0..self.zip.len()).filter_map(|number| {
            let name = self.zip.name_for_index(number)?.ok()?;
            Some((number, name.strip_suffix(EXTENSION)?.to_owned()))
        })
    }

    /// The tensor that is meant: number of its member, header, name.
    pub(crate) fn find(&mut self, choice: Choice<'_>) -> Result<(usize, Layout, String), FileError> {
        let arrays: Vec<(usize, String)> = self.arrays().collect();
        let mut names: Vec<String> = arrays.iter().map(|(_, name)| name.clone()).collect();
        names.sort();
        // a name may be that of the file in the archive too
        let bare = |name| str::strip_suffix(name, EXTENSION).filter(|_| !names.iter().any(|other| other == name));
        let name = choice.name.map(|name| bare(name).unwrap_or(name));
        let name = names::choose(&names, Choice { name, ..choice })?;
        let number = arrays.iter().find(|(_, other)| *other == name).map_or(0, |(number, _)| *number);
        let mut member = self.member(number)?;
        let len = member.size();
        let layout = npy::read_header(&mut member, len)?;
        drop(member);
        Ok((number, layout, name))
    }

    /// A member from its start on, if the archive has as many bytes as it promises.
    pub(crate) fn member(&mut self, number: usize) -> Result<zip::read::ZipFile<'_, Box<dyn Source>>, FileError> {
        let entry = self.zip.by_index_data(number).map_err(words)?;
        let name = entry.name().map_err(words)?.into_owned();
        if entry.encrypted() {
            return Err(FileError::Encrypted(name));
        }
        let (packed, size) = (entry.compressed_size(), entry.size());
        let possible = match entry.compression() {
            CompressionMethod::Stored => packed,
            CompressionMethod::Deflated => packed.saturating_mul(EXPANSION),
            other => return Err(FileError::Compression { name, method: method(other) }),
        };
        if size > possible {
            return Err(FileError::Header(format!(
                "'{name}' is said to have {size} bytes, of {packed} in the archive"
            )));
        }
        self.zip.by_index(number).map_err(words)
    }
}

/// A way to compress that is not read.
fn method(method: CompressionMethod) -> &'static str {
    match method {
        CompressionMethod::BZIP2 => "bzip2",
        CompressionMethod::LZMA => "lzma",
        CompressionMethod::ZSTD => "zstd",
        CompressionMethod::XZ => "xz",
        CompressionMethod::DEFLATE64 => "deflate64",
        _ => "a method without a name here",
    }
}

fn words(error: ZipError) -> FileError {
    match error {
        ZipError::Io(error) => FileError::Io(error),
        other => FileError::Header(other.to_string()),
    }
}

/// Writes an archive of one tensor, as `numpy.savez` does: `write` writes the `.npy` file of `len` bytes.
pub(crate) fn write<W: Write + Seek>(
    file: W,
    name: &str,
    len: u64,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut archive = ZipWriter::new(file);
    archive.start_file(format!("{name}{EXTENSION}"), options.large_file(len >= LARGE))?;
    write(&mut archive)?;
    archive.finish()?;
    Ok(())
}

/// Refuses names that a member of an archive cannot have, or that lead out of a folder where it is unpacked.
pub(crate) fn check_name(name: &str) -> Result<(), FileError> {
    // the format counts the bytes of a name in 16 bits
    let fits = name.len() + EXTENSION.len() <= usize::from(u16::MAX);
    let leads_out = name.starts_with(['/', '\\']) || name.split(['/', '\\']).any(|part| part == "..");
    match name.is_empty() || name.contains('\0') || leads_out || !fits {
        true => Err(FileError::TensorName { name: name.chars().take(80).collect(), format: Format::Npz }),
        false => Ok(()),
    }
}
