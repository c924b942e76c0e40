//! What can be wrong with a file, and the way out.

use std::io;
use std::path::PathBuf;

use wgpu_norm::Element;

use crate::files::Format;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system's words.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No name for a tensor.
    #[error("a tensor cannot be called {name:?} in {}", kind(.format))]
    TensorName {
        /// The name.
        name: String,
        /// The kind of file.
        format: Format,
    },
    /// A member of an archive with a password.
    #[error("'{0}' is encrypted: unpack the archive with its password, and give the .npy file")]
    Encrypted(String),
    /// A member of an archive that is compressed by something else.
    #[error("'{name}' is compressed by {method}, members are stored or deflated: write it with numpy.savez")]
    Compression {
        /// The member.
        name: String,
        /// How it is compressed.
        method: &'static str,
    },
    /// A second tensor from standard input.
    #[error("it holds one tensor, and another option reads it: give a file for one of them")]
    Taken,
    /// Standard input where somebody types, or standard output where somebody reads.
    #[error("it is a terminal: give a file, or a pipe")]
    Terminal,
    /// A counter of a tensor's shape.
    #[error("a counter is one number, this has shape {shape:?}")]
    NotOneNumber {
        /// Its shape.
        shape: Vec<u64>,
    },
    /// A counter that counts nothing.
    #[error("a counter is a whole number within 0..={}, got {value}", u32::MAX - 1)]
    NoCounter {
        /// The number.
        value: f64,
    },
    /// A folder, a pipe, a device.
    #[error("not a regular file")]
    NotRegular,
    /// Neither `.npy` nor `.npz` nor `.safetensors`; what it is, where its first bytes tell.
    #[error("unknown kind of file, .npy, .npz and .safetensors are supported{}", it_is(.0))]
    UnknownFormat(Option<String>),
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
    /// Fewer elements than the header says, while they are read.
    #[error("the elements end before all are read: the file became shorter, or compressed ones are damaged")]
    Ended,
    /// Not a tensor of floats.
    #[error(
        "element type {0} is not supported, only floats of 16, 32 and 64 bits are: convert it, as with \
         x.astype('float32')"
    )]
    DataType(String),
    /// Records of several numbers.
    #[error("elements are records of {0}: write one field alone, as with numpy.save('y.npy', x['field'])")]
    Structured(String),
    /// NumPy has no such type.
    #[error("{} cannot hold {element}; a .safetensors file can, or choose --dtype f16 or f32", kind(.format))]
    NotInNumpy {
        /// The kind of file.
        format: Format,
        /// The type.
        element: Element,
    },
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
    /// Several tensors whose names end in the one asked for.
    #[error("no tensor '{name}', but several that end in it, choose with --prefix or the whole name: {available}")]
    SeveralSuch {
        /// The name asked for.
        name: String,
        /// Those that there are.
        available: String,
    },
    /// Names of two modules.
    #[error("'{name}' is behind '{prefix}', another name behind '{earlier}': write whole names, or --prefix")]
    OtherPrefix {
        /// The name asked for.
        name: String,
        /// What stands before the first name that was found.
        earlier: String,
        /// What stands before this one.
        prefix: String,
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
    #[error("{} holds no checkpoint, a .safetensors file is needed", kind(.0))]
    NoCheckpoint(Format),
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

fn kind(format: &Format) -> &'static str {
    match format {
        Format::Npy => "a .npy file",
        Format::Npz => "a .npz file",
        Format::Safetensors => "a .safetensors file",
    }
}

fn it_is(known: &Option<String>) -> String {
    known.as_ref().map(|is| format!("; it is {is}")).unwrap_or_default()
}
