//! Files that are written beside the one they take the place of, and then renamed: whenever the program is ended, by
//! whatever means, the old file is there or the new one.
//!
//! What SIGKILL or a power cut leaves of them is removed by the next program that writes into the folder. It knows
//! them by their names, and that nobody is writing them by their locks.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fs4::FileExt;
use tempfile::NamedTempFile;

use crate::failure::{EXIT_INTERRUPTED, Failure};
use crate::file_error::FileError;
use crate::terminal;

/// How their names begin and end; letters by chance are between.
const NAME: [&str; 2] = [".wgpu-norm-", ".part"];

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

/// A file that has not its name yet; removed on drop.
pub(crate) struct Unfinished {
    file: NamedTempFile,
}

impl Unfinished {
    /// A new one in the folder of `path`, which it will be called.
    pub(crate) fn beside(path: &Path) -> io::Result<Self> {
        remove_abandoned(folder(path));
        loop {
            let file = Self::create(path)?;
            // Where a file system has no locks, nothing is removed either.
            let _ = FileExt::lock(file.as_file());
            // Between its making and its locking another program may have taken it for an abandoned one.
            if file.path().exists() {
                return Ok(Self { file });
            }
        }
    }

    fn create(path: &Path) -> io::Result<NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(NAME[0]).suffix(NAME[1]);
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
        Ok(file)
    }

    /// Some file systems notice a full disk only now.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.as_file().sync_all()
    }

    /// Gives the file its name, in place of one that is there only by `force`.
    pub(crate) fn finish(self, path: &Path, force: bool) -> Result<(), Failure> {
        // An interrupt waits until the file has its name, or comes before.
        let mut unfinished = unfinished();
        let part = self.file.path().to_owned();
        let result = if force { self.file.persist(path) } else { self.file.persist_noclobber(path) };
        unfinished.retain(|path| *path != part);
        match result {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Failure::file(path, FileError::Exists))
            }
            Err(error) => Err(Failure::file(path, FileError::from(error.error))),
        }
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

impl Seek for Unfinished {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.as_file_mut().seek(to)
    }
}

/// Removes what killed programs left in a folder. That it cannot is no reason to stop.
fn remove_abandoned(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        // of the folder itself: what a link leads to is not ours
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !name.starts_with(NAME[0]) || !name.ends_with(NAME[1]) || !is_file {
            continue;
        }
        let Ok(file) = File::options().write(true).open(entry.path()) else { continue };
        if FileExt::try_lock(&file).is_ok() {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The folder of `path`, `.` where it names none.
pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_abandoned_is_removed_and_what_is_written_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let names = || -> Vec<PathBuf> {
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
        };
        for name in [".wgpu-norm-AbCdEf.part", ".wgpu-norm-000000.part", "y.npy", ".wgpu-norm-x"] {
            std::fs::write(folder.path().join(name), b"x").unwrap();
        }
        let path = folder.path().join("z.npy");
        let first = Unfinished::beside(&path).unwrap();
        assert_eq!(names().len(), 3, "{:?}", names());
        let second = Unfinished::beside(&path).unwrap();
        assert_eq!(names().len(), 4, "{:?}", names());
        first.finish(&path, false).unwrap();
        assert!(second.finish(&path, false).unwrap_err().to_string().contains("exists"));
        assert_eq!(names().len(), 3, "{:?}", names());
        assert!(unfinished().iter().all(|part| !part.starts_with(folder.path())));
    }
}
