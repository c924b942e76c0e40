//! Writing: beside the target, then renamed. A failure, a full disk or Ctrl-C leaves the target as it was and no
//! half-written file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;
use wgpu_norm::{Element, QuantFormat};

use crate::failure::{EXIT_INTERRUPTED, Failure};
use crate::files::{CHUNK, FileError, Format};
use crate::{elements, npy, quantized, safetensors_file, terminal};

/// Unfinished files, removed when the program is interrupted.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// What the next interrupt does.
static INTERRUPT: AtomicU8 = AtomicU8::new(ENDS);
/// It ends the program.
const ENDS: u8 = 0;
/// It is kept for [`is_interrupted`].
const WAITS: u8 = 1;
/// It came, and the next one ends the program.
const CAME: u8 = 2;

/// One that follows another so soon is the same one.
const ECHO: Duration = Duration::from_millis(200);

/// Keeps the first interrupt for [`is_interrupted`], so that work may end with what it has; a second one ends the
/// program.
pub fn defer_interrupt() {
    INTERRUPT.store(WAITS, Ordering::Relaxed);
}

/// Whether a deferred interrupt came.
pub fn is_interrupted() -> bool {
    INTERRUPT.load(Ordering::Relaxed) == CAME
}

/// Makes Ctrl-C (and the system's other requests to end) remove unfinished files first.
pub fn remove_on_interrupt() {
    let mut last: Option<Instant> = None;
    let installed = ctrlc::try_set_handler(move || {
        let deferred = INTERRUPT.compare_exchange(WAITS, CAME, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        // `timeout` sends one to the program and one to its group
        if deferred {
            last = Some(Instant::now());
        }
        if last.is_some_and(|last| last.elapsed() < ECHO) {
            return;
        }
        // Kept locked until the end: no file becomes unfinished or finished in between.
        let unfinished = unfinished();
        for path in unfinished.iter() {
            let _ = std::fs::remove_file(path);
        }
        terminal::error("interrupted");
        std::process::exit(EXIT_INTERRUPTED);
    });
    // Refused where the caller has these signals ignored (nohup, a job in the background): then none comes.
    drop(installed);
}

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that the program is asked to write.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it goes, symbolic links followed.
    path: PathBuf,
    /// Whether it may replace a file.
    force: bool,
}

impl Target {
    /// Checks, before any work, that `path` can be written without harm: known format, existing folder, no file
    /// there (or `force`), and none of `inputs`.
    pub fn new(path: &Path, force: bool, inputs: &[&Path]) -> Result<Self, Failure> {
        let fail = |error| Failure::file(path, error);
        Format::of(path)?;
        if let Some(input) = inputs.iter().find(|input| same_file(path, input)) {
            return Err(fail(FileError::OutputIsInput(input.to_path_buf())));
        }
        // Of the path itself: a link that leads nowhere is in the way too.
        if std::fs::symlink_metadata(path).is_ok() {
            // A rename would replace even /dev/null.
            if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
                return Err(fail(FileError::NotRegular));
            }
            if !force {
                return Err(fail(FileError::Exists));
            }
        }
        if !folder(path).is_dir() {
            return Err(fail(FileError::NoFolder(folder(path).to_owned())));
        }
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Ok(Self { path, force })
    }

    /// As [`Target::new`], for several tensors in one file.
    pub fn for_state(path: &Path, force: bool, inputs: &[&Path]) -> Result<Self, Failure> {
        match Format::of(path)? {
            Format::Safetensors => Self::new(path, force, inputs),
            Format::Npy => Err(Failure::file(path, FileError::OneTensor)),
        }
    }

    /// Checks that a file of any kind can be written at `path`, in place of one that is there.
    pub fn replacing(path: &Path) -> Result<Self, Failure> {
        let fail = |error| Failure::file(path, error);
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(fail(FileError::NotRegular));
        }
        if !folder(path).is_dir() {
            return Err(fail(FileError::NoFolder(folder(path).to_owned())));
        }
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Ok(Self { path, force: true })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether `self` and `other` are one file, there or not.
    pub fn same_as(&self, other: &Self) -> bool {
        let place = |target: &Self| {
            (std::fs::canonicalize(folder(&target.path)).ok(), target.path.file_name().map(ToOwned::to_owned))
        };
        same_file(&self.path, &other.path) || place(self) == place(other)
    }

    /// Refuses a type that files of this kind cannot hold.
    pub fn check_element(&self, element: Element) -> Result<(), Failure> {
        match Format::of(&self.path)? {
            Format::Npy => npy::descr(element).map(drop).map_err(|error| Failure::file(&self.path, error)),
            Format::Safetensors => Ok(()),
        }
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
        let fail = |error| Failure::file(&self.path, error);
        let header = match Format::of(&self.path)? {
            Format::Npy => npy::descr(element).and_then(|descr| npy::header(shape, descr)).map_err(fail)?,
            Format::Safetensors => safetensors_file::header(name, shape, elements::dtype(element)).map_err(fail)?,
        };
        self.part(&header, element, data)
    }

    /// As [`Target::part_of_tensor`], of numbers that are bytes.
    pub fn part_of_codes(
        &self,
        name: &str,
        shape: &[u64],
        format: QuantFormat,
        codes: &[u8],
    ) -> Result<Part<'_>, Failure> {
        let fail = |error| Failure::file(&self.path, error);
        let header = match Format::of(&self.path)? {
            Format::Npy => npy::header(shape, quantized::descr(format)).map_err(fail)?,
            Format::Safetensors => safetensors_file::header(name, shape, quantized::dtype(format)).map_err(fail)?,
        };
        self.part_of_bytes(&[header.as_slice(), codes].concat())
    }

    /// As [`Target::write_bytes`], but for the name.
    pub fn part_of_bytes(&self, bytes: &[u8]) -> Result<Part<'_>, Failure> {
        self.part(bytes, Element::F32, &[])
    }

    fn part(&self, header: &[u8], element: Element, data: &[f32]) -> Result<Part<'_>, Failure> {
        let fail = |error: io::Error| Failure::file(&self.path, FileError::from(error));
        let mut part = Part::beside(self).map_err(fail)?;
        part.write(header, element, data).map_err(fail)?;
        Ok(part)
    }
}

/// Writes a file of any kind, whole or not at all.
pub fn write_bytes(path: &Path, bytes: &[u8], force: bool) -> Result<(), Failure> {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    Target { path, force }.write_bytes(bytes)
}

/// The folder of `path`, `.` where it names none.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Whether both paths lead to one existing file, by symbolic or hard links too.
fn same_file(first: &Path, second: &Path) -> bool {
    same_file::is_same_file(first, second).unwrap_or(false)
}

/// A file that is written but has not its name yet; removed on drop.
pub struct Part<'a> {
    file: NamedTempFile,
    target: &'a Target,
}

impl<'a> Part<'a> {
    fn beside(target: &'a Target) -> io::Result<Self> {
        let path = &target.path;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".wgpu-norm-").suffix(".part");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // What the replaced file has, or an ordinary new one (the umask takes its part). The crate's default is for
            // secrets.
            let replaced = std::fs::metadata(path).map(|metadata| metadata.permissions());
            builder.permissions(replaced.unwrap_or(std::fs::Permissions::from_mode(0o666)));
        }
        let mut unfinished = unfinished();
        let file = builder.tempfile_in(folder(path))?;
        unfinished.push(file.path().to_owned());
        Ok(Self { file, target })
    }

    fn write(&mut self, header: &[u8], element: Element, data: &[f32]) -> io::Result<()> {
        let bar = terminal::progress("writing", data.len() as u64 * element.bytes(), true);
        let file = self.file.as_file_mut();
        file.write_all(header)?;
        for chunk in data.chunks(CHUNK / 4) {
            file.write_all(&elements::encode(chunk, element))?;
            bar.inc(chunk.len() as u64 * element.bytes());
        }
        bar.finish_and_clear();
        // Some file systems notice a full disk only now.
        file.sync_all()
    }

    /// Gives the file its name.
    pub fn finish(self) -> Result<(), Failure> {
        let target = self.target;
        // An interrupt waits until the file has its name, or comes before.
        let mut unfinished = unfinished();
        let part = self.file.path().to_owned();
        let result =
            if target.force { self.file.persist(&target.path) } else { self.file.persist_noclobber(&target.path) };
        unfinished.retain(|path| *path != part);
        match result {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Failure::file(&target.path, FileError::Exists))
            }
            Err(error) => Err(Failure::file(&target.path, FileError::from(error.error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{TensorFile, TensorSpec};

    fn refusal(path: &Path, force: bool, inputs: &[&Path]) -> String {
        Target::new(path, force, inputs).err().map(|error| error.to_string()).unwrap_or_default()
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
        assert!(refusal(&file("none/y.npy"), true, &[]).contains("does not exist"));
        assert!(refusal(&file("y.txt"), true, &[]).contains("unknown kind"));
        assert_eq!(refusal(&file("x.npy"), true, &[&file("y.npy")]), "");
    }

    #[test]
    fn targets_are_compared_before_they_exist() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        let target = |path: PathBuf| Target::new(&path, false, &[]).unwrap();
        let a = target(folder.path().join("a.npy"));
        assert!(a.same_as(&target(folder.path().join("sub/../a.npy"))));
        assert!(!a.same_as(&target(folder.path().join("b.npy"))));
    }

    #[test]
    fn only_the_finished_file_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("y.npy");
        let target = Target::new(&path, false, &[]).unwrap();
        target.part_of_tensor("", &[2], Element::F32, &[1.0, 2.0]).unwrap().finish().unwrap();
        // It came into being after the check: still not replaced, and no part is left.
        let error = target.part_of_tensor("", &[2], Element::F32, &[3.0, 4.0]).and_then(Part::finish).unwrap_err();
        assert!(error.to_string().contains("exists"), "{error}");
        let spec = TensorSpec { path, name: None };
        assert_eq!(TensorFile::open(&spec, "").unwrap().read().unwrap(), [1.0, 2.0]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(unfinished().iter().all(|part| !part.starts_with(folder.path())));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error() {
        // /dev/full takes no byte.
        let file = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let path = tempfile::TempPath::try_from_path("/nonexistent/part").unwrap();
        let target = Target { path: PathBuf::from("full"), force: false };
        let mut part = Part { file: NamedTempFile::from_parts(file, path), target: &target };
        let error = part.write(b"header", Element::F32, &[1.0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
