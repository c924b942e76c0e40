//! Element types of tensors.

/// How an element of a tensor is stored. Arithmetic, moments, sums and workspaces are f32 whatever the element is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Element {
    /// 32-bit float.
    #[default]
    F32,
}

impl Element {
    /// Bytes of one element.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
        }
    }

    /// Elements that one store owns: neighbours within a grain belong to one invocation.
    pub const fn grain(self) -> u64 {
        match self {
            Self::F32 => 1,
        }
    }

    /// Its name in kernels and files of recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
        }
    }
}
