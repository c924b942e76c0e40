//! Writing tensors, checkpoints and reports: to files, which are whole or not there, or to standard output.

use std::io::{self, Cursor, IsTerminal, Seek, Write};
use std::path::{Path, PathBuf, is_separator};

use wgpu_norm::{Element, QuantFormat};

use crate::failure::Failure;
use crate::file_error::FileError;
use crate::files::{CHUNK, Format, STANDARD};
use crate::unfinished::{Unfinished, folder};
use crate::{elements, npy, npz, quantized, safetensors_file, terminal};

pub use crate::unfinished::{defer_interrupt, is_interrupted, remove_on_interrupt};

/// A file that the program is asked to write.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it goes, symbolic links followed; `None`: to standard output.
    path: Option<PathBuf>,
    /// Its kind; `None`: one without tensors.
    format: Option<Format>,
    /// Whether it may replace a file.
    force: bool,
}

impl Target {
    /// Checks, before any work, that `path` can be written without harm: known format, existing folder, no file
    /// there (or `force`), and none of `inputs`. `-` is standard output, which gets a `.npy` file unless `format` says
    /// otherwise.
    pub fn new(path: &Path, format: Option<Format>, force: bool, inputs: &[&Path]) -> Result<Self, Failure> {
        let fail = |error| Failure::file(path, error);
        if path == Path::new(STANDARD) {
            if io::stdout().is_terminal() {
                return Err(Failure::file(Path::new("standard output"), FileError::Terminal));
            }
            return Ok(Self { path: None, format: format.or(Some(Format::Npy)), force });
        }
        let format = format.or_else(|| Format::of(path)).ok_or_else(|| fail(FileError::UnknownFormat(None)))?;
        if let Some(input) = inputs.iter().find(|input| same_file(path, input)) {
            return Err(fail(FileError::OutputIsInput(input.to_path_buf())));
        }
        if is_there(path)? && !force {
            return Err(fail(FileError::Exists));
        }
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Ok(Self { path: Some(path), format: Some(format), force })
    }

    /// As [`Target::new`], for several tensors in one file.
    pub fn for_state(path: &Path, force: bool, inputs: &[&Path]) -> Result<Self, Failure> {
        match Format::of(path) {
            Some(format @ (Format::Npy | Format::Npz)) => Err(Failure::file(path, FileError::NoCheckpoint(format))),
            Some(Format::Safetensors) => Self::new(path, None, force, inputs),
            None if path == Path::new(STANDARD) => Self::new(path, Some(Format::Safetensors), force, inputs),
            None => Err(Failure::file(path, FileError::UnknownFormat(None))),
        }
    }

    /// Checks that a file of any kind can be written at `path`, in place of one that is there.
    pub fn replacing(path: &Path) -> Result<Self, Failure> {
        is_there(path)?;
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Ok(Self { path: Some(path), format: None, force: true })
    }

    /// The file, in words for standard output.
    pub fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new("standard output"))
    }

    /// Whether it is no file.
    pub fn is_stdout(&self) -> bool {
        self.path.is_none()
    }

    /// Whether `self` and `other` are one file, there or not.
    pub fn same_as(&self, other: &Self) -> bool {
        let (Some(path), Some(other)) = (&self.path, &other.path) else { return self.path == other.path };
        let place = |path: &Path| (std::fs::canonicalize(folder(path)).ok(), path.file_name().map(ToOwned::to_owned));
        same_file(path, other) || place(path) == place(other)
    }

    /// Refuses a type that files of this kind cannot hold.
    pub fn check_element(&self, element: Element) -> Result<(), Failure> {
        match self.format {
            Some(format @ (Format::Npy | Format::Npz)) => {
                npy::descr(element, format).map(drop).map_err(|e| self.fail(e))
            }
            Some(Format::Safetensors) | None => Ok(()),
        }
    }

    fn fail(&self, error: impl Into<FileError>) -> Failure {
        Failure::file(self.path(), error)
    }

    /// Writes a whole file.
    pub fn write_bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.part_of_bytes(bytes)?.finish()
    }

    /// Writes a tensor whose elements are rounded to a type (`name` is used where the format has names), but for the
    /// file's name: several files are written first, and named together.
    pub fn part_of_tensor(
        &self,
        name: &str,
        shape: &[u64],
        element: Element,
        data: &[f32],
    ) -> Result<Part<'_>, Failure> {
        let header = match self.format {
            Some(Format::Safetensors) | None => safetensors_file::header(name, shape, elements::dtype(element)),
            Some(format) => npy::descr(element, format).and_then(|descr| npy::header(shape, descr)),
        };
        self.part(name, header, &Content::Values(element, data))
    }

    /// As [`Target::part_of_tensor`], of numbers that are bytes.
    pub fn part_of_codes(
        &self,
        name: &str,
        shape: &[u64],
        format: QuantFormat,
        codes: &[u8],
    ) -> Result<Part<'_>, Failure> {
        let header = match self.format {
            Some(Format::Safetensors) | None => safetensors_file::header(name, shape, quantized::dtype(format)),
            Some(Format::Npy | Format::Npz) => npy::header(shape, quantized::descr(format)),
        };
        self.part(name, header, &Content::Bytes(codes))
    }

    /// As [`Target::write_bytes`], but for the name.
    pub fn part_of_bytes(&self, bytes: &[u8]) -> Result<Part<'_>, Failure> {
        let mut sink = self.sink()?;
        let written = Content::Bytes(bytes).write(&mut sink).and_then(|()| sink.sync());
        written.map_err(|error| self.fail(error)).map(|()| Part { sink, target: self })
    }

    fn part(&self, name: &str, header: Result<Vec<u8>, FileError>, content: &Content<'_>) -> Result<Part<'_>, Failure> {
        let header = header.map_err(|error| self.fail(error))?;
        if self.format == Some(Format::Npz) {
            npz::check_name(name).map_err(|error| self.fail(error))?;
        }
        let mut sink = self.sink()?;
        let all = |file: &mut dyn Write| file.write_all(&header).and_then(|()| content.write(file));
        let written = match self.format {
            Some(Format::Npz) => npz::write(&mut sink, name, header.len() as u64 + content.len(), all),
            _ => all(&mut sink),
        };
        written.and_then(|()| sink.sync()).map_err(|error| self.fail(error))?;
        Ok(Part { sink, target: self })
    }

    fn sink(&self) -> Result<Sink, Failure> {
        match &self.path {
            Some(path) => Unfinished::beside(path).map(Sink::File).map_err(|error| self.fail(error)),
            None => Ok(Sink::Stdout(Cursor::default())),
        }
    }
}

/// Writes a file of any kind, whole or not at all.
pub fn write_bytes(path: &Path, bytes: &[u8], force: bool) -> Result<(), Failure> {
    Target { force, ..Target::replacing(path)? }.write_bytes(bytes)
}

/// Whether there is a file at `path`, which could be replaced; refuses what cannot be one.
fn is_there(path: &Path) -> Result<bool, Failure> {
    let fail = |error| Failure::file(path, error);
    if !folder(path).is_dir() {
        return Err(fail(FileError::NoFolder(folder(path).to_owned())));
    }
    let ends_as_folder = path.as_os_str().as_encoded_bytes().last().is_some_and(|&byte| is_separator(byte.into()));
    // A rename would replace even /dev/null.
    if ends_as_folder || std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(fail(FileError::NotRegular));
    }
    // Of the path itself: a link that leads nowhere is in the way too.
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // a name that is too long, a folder that may not be searched
        Err(error) => Err(fail(error.into())),
    }
}

/// Gives all parts their names. What goes to standard output goes first: if that is closed or full, no file is there.
pub fn finish(mut parts: Vec<Part<'_>>) -> Result<(), Failure> {
    parts.sort_by_key(|part| !part.target.is_stdout());
    parts.into_iter().try_for_each(Part::finish)
}

/// Whether both paths lead to one existing file, by symbolic or hard links too.
fn same_file(first: &Path, second: &Path) -> bool {
    same_file::is_same_file(first, second).unwrap_or(false)
}

/// What is written behind a header.
enum Content<'a> {
    /// Numbers, each rounded to the type.
    Values(Element, &'a [f32]),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl Content<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Values(element, values) => values.len() as u64 * element.bytes(),
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    fn write(&self, file: &mut dyn Write) -> io::Result<()> {
        let bar = terminal::progress("writing", self.len(), true);
        match *self {
            Self::Bytes(bytes) => file.write_all(bytes)?,
            Self::Values(element, values) => {
                for chunk in values.chunks(CHUNK / 4) {
                    file.write_all(&elements::encode(chunk, element))?;
                    bar.inc(chunk.len() as u64 * element.bytes());
                }
            }
        }
        bar.finish_and_clear();
        Ok(())
    }
}

/// Where bytes wait until all parts are whole.
enum Sink {
    File(Unfinished),
    Stdout(Cursor<Vec<u8>>),
}

impl Sink {
    fn sync(&self) -> io::Result<()> {
        match self {
            Self::File(file) => file.sync(),
            Self::Stdout(_) => Ok(()),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Stdout(kept) => kept.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Stdout(_) => Ok(()),
        }
    }
}

impl Seek for Sink {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        match self {
            Self::File(file) => file.seek(to),
            Self::Stdout(kept) => kept.seek(to),
        }
    }
}

/// A file that is written but has not its name yet; removed on drop.
pub struct Part<'a> {
    sink: Sink,
    target: &'a Target,
}

impl Part<'_> {
    /// Whether it goes to standard output.
    pub fn is_stdout(&self) -> bool {
        self.target.is_stdout()
    }

    /// Gives the file its name, or writes it to standard output.
    pub fn finish(self) -> Result<(), Failure> {
        match self.sink {
            Sink::File(file) => file.finish(self.target.path(), self.target.force),
            Sink::Stdout(kept) => {
                let mut out = io::stdout().lock();
                out.write_all(kept.get_ref()).and_then(|()| out.flush()).map_err(Failure::Stdout)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Prefix, TensorFile, TensorSpec};

    fn refusal(path: &Path, force: bool, inputs: &[&Path]) -> String {
        Target::new(path, None, force, inputs).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn harmful_targets_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("x.npy"), b"x").unwrap();
        std::fs::create_dir(file("folder.npy")).unwrap();
        #[cfg(unix)]
        {
            std::fs::hard_link(file("x.npy"), file("hard.npy")).unwrap();
            std::os::unix::fs::symlink(file("x.npy"), file("soft.npy")).unwrap();
            std::os::unix::fs::symlink(file("nowhere.npy"), file("dangling.npy")).unwrap();
            for name in ["hard.npy", "soft.npy"] {
                assert!(refusal(&file(name), true, &[&file("x.npy")]).contains("is the input"), "{name}");
            }
            assert!(refusal(&file("dangling.npy"), false, &[]).contains("exists"));
        }
        assert!(refusal(&file("x.npy"), true, &[&file("x.npy")]).contains("is the input"));
        assert!(refusal(&file("x.npy"), false, &[]).contains("--force"));
        assert!(refusal(&file("folder.npy"), true, &[]).contains("regular"));
        for name in ["x.npy/", "none.npy/", "folder.npy/"] {
            assert!(refusal(&file(name), true, &[]).contains("regular"), "{name}");
        }
        let long = format!("{}.npy", "y".repeat(300));
        assert_ne!(refusal(&file(&long), true, &[]), "");
        assert!(refusal(&file("none/y.npy"), true, &[]).contains("does not exist"));
        assert!(refusal(&file("y.txt"), true, &[]).contains("unknown kind"));
        assert_eq!(refusal(&file("x.npy"), true, &[&file("y.npy")]), "");
    }

    #[test]
    fn targets_are_compared_before_they_exist() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        let target = |path: PathBuf| Target::new(&path, None, false, &[]).unwrap();
        let a = target(folder.path().join("a.npy"));
        assert!(a.same_as(&target(folder.path().join("sub/../a.npy"))));
        assert!(!a.same_as(&target(folder.path().join("b.npy"))));
    }

    #[test]
    fn only_the_finished_file_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("y.npy");
        let target = Target::new(&path, None, false, &[]).unwrap();
        target.part_of_tensor("", &[2], Element::F32, &[1.0, 2.0]).unwrap().finish().unwrap();
        // It came into being after the check: still not replaced, and no part is left.
        let error = target.part_of_tensor("", &[2], Element::F32, &[3.0, 4.0]).and_then(Part::finish).unwrap_err();
        assert!(error.to_string().contains("exists"), "{error}");
        let spec = TensorSpec { path, name: None };
        assert_eq!(TensorFile::open(&spec, &Prefix::default(), "").unwrap().read().unwrap(), [1.0, 2.0]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error() {
        // /dev/full takes no byte.
        let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = Content::Values(Element::F32, &[1.0]).write(&mut full).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
