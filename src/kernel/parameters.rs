//! The uniform block of one dispatch: a block for each fragment that declares one.

use bytemuck::Pod;

/// Most bytes of the parameters of a kernel: the engine's question to a device.
#[cfg(feature = "wgpu")]
pub(crate) const MAX_SIZE: u64 = 1024;

/// A block that a fragment declares as a WGSL struct, mirrored field by field. Its size is a multiple of 16 bytes.
pub(crate) trait Block: Pod {
    /// The field of `Parameters` that holds it.
    const FIELD: &'static str;
}

/// Parameters of one dispatch: the blocks by the names of their fields. Kernels take those that their fragments
/// declare.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters(Vec<(&'static str, Vec<u8>)>);

impl Parameters {
    pub(crate) fn with<B: Block>(self, block: B) -> Self {
        self.with_bytes(B::FIELD, bytemuck::bytes_of(&block))
    }

    pub(crate) fn with_bytes(mut self, field: &'static str, bytes: &[u8]) -> Self {
        self.0.push((field, bytes.to_vec()));
        self
    }

    /// The bytes of a kernel's uniform block, whose fields are these.
    pub(crate) fn bytes(&self, fields: &[&'static str]) -> Vec<u8> {
        let mut all = Vec::new();
        for field in fields {
            let block = self.0.iter().find(|(name, _)| name == field);
            // a kernel whose block nobody has filled in is our own mistake
            assert!(block.is_some(), "no parameters {field}");
            let bytes = block.map_or(&[][..], |(_, bytes)| bytes);
            all.extend_from_slice(bytes);
            all.resize(all.len().next_multiple_of(16), 0);
        }
        all
    }
}
