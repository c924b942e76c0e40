//! The uniform block of one dispatch: a block for each fragment that declares one.

use bytemuck::{Pod, Zeroable};

/// Most bytes of the parameters of a kernel.
pub(crate) const MAX_SIZE: u64 = 1024;

/// A block that a fragment declares as a WGSL struct, mirrored field by field. Its size is a multiple of 16 bytes.
pub(crate) trait Block: Pod {
    /// The field of `Parameters` that holds it.
    const FIELD: &'static str;
}

/// Parameters of one dispatch: the blocks by the names of their fields. Kernels take those that their fragments declare.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters(Vec<(&'static str, Vec<u8>)>);

impl Parameters {
    pub(crate) fn with<B: Block>(self, block: B) -> Self {
        self.with_bytes(B::FIELD, bytemuck::bytes_of(&block).to_vec())
    }

    pub(crate) fn with_bytes(mut self, field: &'static str, bytes: Vec<u8>) -> Self {
        self.0.push((field, bytes));
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

impl Block for Params {
    const FIELD: &'static str = "params";
}

/// Segment of a flat element index as mixed-radix digits, see `shaders/lib/index.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub(crate) struct Index {
    pub dims: [u32; 4],
    pub first: [u32; 4],
    pub step: [u32; 4],
}

/// Rows of the innermost axis in memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub(crate) struct Rows {
    pub length: u32,
    pub stride: u32,
    pub column: u32,
    pub pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub(crate) struct Params {
    pub zero: u32,
    pub nan: u32,
    pub infinity: u32,
    pub inverse_of_zero: u32,
    pub segments: u32,
    pub slices: u32,
    pub slice_len: u32,
    pub record_first: u32,
    pub record_stride: u32,
    pub samples: u32,
    pub statistics_base: u32,
    pub affine_base: u32,
    pub folded_scale: u32,
    pub phase: u32,
    pub width: u32,
    pub rows: u32,
    pub parts: u32,
    pub turns: u32,
    pub blocks: u32,
    pub spacing: u32,
    pub window: [u32; 4],
    pub statistics: Index,
    pub affine: Index,
    pub input_rows: Rows,
    pub output_rows: Rows,
    pub gradient_rows: Rows,
    pub offsets: [u32; 12],
    pub eps_inside: f32,
    pub eps_added: f32,
    pub eps_minimum: f32,
    pub factor: f32,
    pub p: f32,
    pub momentum: f32,
    pub gradient_factor: [f32; 2],
    pub weighted: u32,
    pub frozen: u32,
    pub scale_last: u32,
    pub products: u32,
    pub cumulative: u32,
    pub unbiased: u32,
    pub pad: [u32; 2],
}

impl Default for Params {
    fn default() -> Self {
        Self {
            nan: f32::NAN.to_bits(),
            infinity: f32::INFINITY.to_bits(),
            folded_scale: u32::MAX,
            factor: 1.0,
            gradient_factor: [1.0; 2],
            parts: 1,
            turns: 1,
            blocks: 1,
            spacing: 1,
            window: [1; 4],
            statistics: Index { dims: [1; 4], ..Index::default() },
            affine: Index { dims: [1; 4], ..Index::default() },
            ..Self::zeroed()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    /// The offsets that naga gives the WGSL struct are those of the Rust struct.
    #[test]
    fn layout_matches_wgsl() {
        let module = naga::front::wgsl::parse_str(include_str!("../../shaders/old/lib/params.wgsl")).unwrap();
        let (_, ty) = module.types.iter().find(|(_, t)| t.name.as_deref() == Some("Params")).unwrap();
        let naga::TypeInner::Struct { members, span } = &ty.inner else { panic!("Params is no struct") };
        macro_rules! offsets { ($($field:ident),*) => { [$((stringify!($field), offset_of!(Params, $field) as u32)),*] } }
        let expected = offsets!(
            zero,
            nan,
            infinity,
            inverse_of_zero,
            segments,
            slices,
            slice_len,
            record_first,
            record_stride,
            samples,
            statistics_base,
            affine_base,
            folded_scale,
            phase,
            width,
            rows,
            parts,
            turns,
            blocks,
            spacing,
            window,
            statistics,
            affine,
            input_rows,
            output_rows,
            gradient_rows,
            offsets,
            eps_inside,
            eps_added,
            eps_minimum,
            factor,
            p,
            momentum,
            gradient_factor,
            weighted,
            frozen,
            scale_last,
            products,
            cumulative,
            unbiased,
            pad
        );
        let actual: Vec<_> = members.iter().map(|m| (m.name.as_deref().unwrap(), m.offset)).collect();
        assert_eq!(actual, expected);
        assert_eq!(*span as usize, size_of::<Params>());
    }
}
