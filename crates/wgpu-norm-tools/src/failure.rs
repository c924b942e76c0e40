//! What can go wrong in the program: one line on stderr and an exit code.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::file_error::FileError;

/// A check that the program made did not hold.
pub const EXIT_CHECK: u8 = 1;
/// The request cannot be carried out: the user's mistake, a file, a device.
pub const EXIT_ERROR: u8 = 2;
/// Interrupted by Ctrl-C.
pub const EXIT_INTERRUPTED: i32 = 130;
/// The reader of a tensor on standard output went away: that of a program which SIGPIPE ends.
pub const EXIT_PIPE: u8 = 141;

/// Why the program stops with exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Options that contradict each other or the tensors.
    #[error("{0}")]
    Usage(String),
    /// A file that cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FileError,
    },
    /// The norm cannot be planned.
    #[error(transparent)]
    Plan(#[from] wgpu_norm::PlanError),
    /// An option names an axis that the tensor has not.
    #[error("{option} names axis {axis}: {}", axes_of(*rank))]
    NoAxis {
        /// The option.
        option: &'static str,
        /// What it names.
        axis: i64,
        /// Rank of the tensor.
        rank: usize,
    },
    /// An option names an axis more than once.
    #[error("{option} names axis {axis} twice")]
    AxisTwice {
        /// The option.
        option: &'static str,
        /// The axis.
        axis: usize,
    },
    /// An option names a range without an axis.
    #[error("{option}: there is no axis from {first} up to {end}, which is left out")]
    NoAxes {
        /// The option.
        option: &'static str,
        /// First axis of the range.
        first: usize,
        /// The one behind its last.
        end: usize,
    },
    /// A parameter does not fit the norm.
    #[error(
        "{operand} has shape {actual:?}, the norm needs {expected:?}, of which sizes of 1 may be left out{way_out}"
    )]
    Shape {
        /// Which parameter, as the caller names it.
        operand: String,
        /// Its shape.
        actual: Vec<u64>,
        /// The shape that it should have.
        expected: Vec<u64>,
        /// What would help, from its punctuation on; may be empty.
        way_out: String,
    },
    /// A parameter around the norm does not fit the input.
    #[error(
        "{operand} has shape {actual:?}, the input {shape:?}: write the input's size along each axis that it varies \
         along, and 1 along the others; leading sizes of 1 may be left out{way_out}"
    )]
    Axes {
        /// Which parameter, as the caller names it.
        operand: String,
        /// Its shape.
        actual: Vec<u64>,
        /// The input's.
        shape: Vec<u64>,
        /// What would help, from its punctuation on; may be empty.
        way_out: String,
    },
    /// Statistics of one element a segment.
    #[error(
        "{kind} norm of shape {shape:?} has one element a segment, of which statistics say nothing; \
         --allow-single-element computes them{way_out}"
    )]
    SingleElement {
        /// Kind of norm.
        kind: &'static str,
        /// Shape of the tensor.
        shape: Vec<u64>,
        /// What else would help, from its punctuation on; may be empty.
        way_out: String,
    },
    /// The tensors do not fit the norm.
    #[error(transparent)]
    Bind(#[from] wgpu_norm::BindError),
    /// The engine cannot work on the device.
    #[error(transparent)]
    Engine(#[from] wgpu_norm::EngineError),
    /// A result cannot be read back.
    #[error(transparent)]
    Read(#[from] wgpu_norm::ReadError),
    /// The ranks of a synchronized norm failed.
    #[error(transparent)]
    Sync(#[from] wgpu_norm::sync::SyncError),
    /// A checkpoint cannot be written.
    #[error(transparent)]
    State(#[from] wgpu_norm::StateError),
    /// The CPU reference refuses the request.
    #[error(transparent)]
    Reference(#[from] wgpu_norm::reference::ReferenceError),
    /// No adapter where one is needed.
    #[error("no GPU adapter found; {0}")]
    NoAdapter(&'static str),
    /// `--adapter` names none.
    #[error("no adapter matches '{wanted}'; available: {available}")]
    UnknownAdapter {
        /// What was asked for.
        wanted: String,
        /// All adapters.
        available: String,
    },
    /// The adapter gives no device.
    #[error("adapter {adapter} gives no device: {message}")]
    RequestDevice {
        /// Its name.
        adapter: String,
        /// wgpu's words.
        message: String,
    },
    /// The device was lost, ran out of memory, or refused an operation.
    #[error("device {adapter}: {message}")]
    Device {
        /// Its adapter's name.
        adapter: String,
        /// wgpu's words.
        message: String,
    },
    /// A tensor is larger than any buffer of the device.
    #[error("{what} needs a buffer of {needed} bytes, device {adapter} allows max_buffer_size of {available}")]
    BufferSize {
        /// Which tensor.
        what: String,
        /// Its size.
        needed: u64,
        /// The device's limit.
        available: u64,
        /// Its adapter's name.
        adapter: String,
    },
    /// The host has no memory left.
    #[error("{what} needs {needed} bytes of memory, more than the system gives")]
    Memory {
        /// Which tensor.
        what: String,
        /// Its size.
        needed: u64,
    },
    /// A kernel cannot be translated.
    #[error("kernel {kernel}: {message}")]
    Shader {
        /// The kernel.
        kernel: String,
        /// naga's words.
        message: String,
    },
    /// Standard output is closed or full.
    #[error("standard output: {0}")]
    Stdout(io::Error),
}

/// What can be named of a tensor.
fn axes_of(rank: usize) -> String {
    match rank {
        0 => "a tensor of rank 0 has none".to_owned(),
        _ => format!("a tensor of rank {rank} has axes 0 to {}, or -{rank} to -1 from the end", rank - 1),
    }
}

impl Failure {
    /// An error of `path`.
    pub fn file(path: &Path, source: impl Into<FileError>) -> Self {
        Self::File { path: path.to_owned(), source: source.into() }
    }

    /// Prints the one line and gives the exit code.
    pub fn report(&self) -> ExitCode {
        // Whoever closed the pipe knows.
        if let Self::Stdout(error) = self
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return ExitCode::from(EXIT_PIPE);
        }
        crate::terminal::error(&self.to_string());
        ExitCode::from(EXIT_ERROR)
    }
}
