//! Blocks of parameters, each mirrored from the fragment that declares it.

use bytemuck::{Pod, Zeroable};

use super::parameters::Block;
use crate::moments;

macro_rules! blocks {
    ($($(#[$doc:meta])* $name:ident, $field:literal, $path:literal { $($member:ident: $ty:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
            pub(crate) struct $name { $(pub $member: $ty,)* }

            impl Block for $name {
                const FIELD: &'static str = $field;
            }
        )*

        /// Name, fragment, size, and names and offsets of the members.
        #[cfg(test)]
        #[allow(clippy::type_complexity, reason = "one table of a test")]
        fn table() -> Vec<(&'static str, &'static str, usize, Vec<(&'static str, usize)>)> {
            vec![$((
                stringify!($name),
                include_str!(concat!("../../shaders/", $path)),
                size_of::<$name>(),
                vec![$((stringify!($member), std::mem::offset_of!($name, $member)),)*],
            ),)*]
        }
    };
}

blocks! {
    /// Numbers that no compiler knows.
    Exact, "exact", "lib/exact.wgsl" { one: f32, nothing: f32, zero: u32, nan: u32, }
    /// Lanes that share a row.
    Lanes, "lanes", "lib/lanes_given.wgsl" { count: u32, log2: u32, pad: [u32; 2], }
    /// From moments to what numbers are divided by.
    Divisor, "divisor", "lib/divisor.wgsl" {
        eps_inside: f32,
        eps_added: f32,
        eps_minimum: f32,
        factor: f32,
        order: f32,
        inverse_of_zero: f32,
        eps_root: f32,
        folded_scale: u32,
    }
    /// Which segment of a partition an element belongs to: see `walk::lookup`.
    Lookup, "lookup", "lib/lookup.wgsl" {
        outer_div: u32,
        outer_mul: u32,
        inner_div: u32,
        inner_mod: u32,
        inner_mul: u32,
        run: u32,
        wrap: u32,
        base: u32,
    }
    /// Where scale and bias of a row are.
    Affine, "affine", "lib/affine.wgsl" {
        lookup: Lookup,
        first_row: u32,
        first_column: u32,
        inverse_run: f32,
        inverse_wrap: f32,
    }
    /// Slices of segments.
    Slices, "slices", "lib/slices.wgsl" {
        count: u32,
        len: u32,
        record_first: u32,
        record_stride: u32,
        earlier: u32,
        pad: [u32; 3],
    }
    /// Tiles of columns of interleaved segments.
    Columns, "columns", "lib/across.wgsl" {
        outer: u32,
        rows: u32,
        width: u32,
        tile: u32,
        tiles: u32,
        fold: u32,
        first_row: u32,
        first_column: u32,
    }
    /// Runs of segments that are long runs of memory.
    Runs, "runs", "reduce_contiguous.wgsl" {
        segments: u32,
        inner: u32,
        count: u32,
        width: u32,
        vectors: u32,
        start: u32,
        whole: u32,
        step_runs: u32,
        step_vectors: u32,
        first_row: u32,
        pad: [u32; 2],
    }
    /// Partial records that a map merges.
    Partials, "partials", "lib/partials.wgsl" { count: u32, stride: u32, pad: [u32; 2], }
    /// A map over rows of one segment each.
    MapRows, "map_rows", "map_rows.wgsl" {
        statistics: Lookup,
        rows: u32,
        width: u32,
        tiles: u32,
        first_row: u32,
        first_column: u32,
        pad: [u32; 3],
    }
    /// A tensor dealt by words.
    Words, "words", "lib/words.wgsl" { statistics: Lookup, elements: u32, vectors: u32, first_row: u32, pad: u32, }
    /// A map over rows of many segments.
    MapColumns, "map_columns", "map_columns.wgsl" {
        statistics: Lookup,
        rows: u32,
        width: u32,
        tile: u32,
        tiles: u32,
        slices: u32,
        slice_rows: u32,
        segments: u32,
        lines: u32,
        first_row: u32,
        first_column: u32,
        pad: [u32; 2],
    }
    /// Records that are merged into one.
    Merge, "merge", "merge.wgsl" { segments: u32, first: u32, inner: u32, count: u32, side: u32, pad: [u32; 3], }
    /// How running statistics move.
    Running, "running", "running.wgsl" {
        segments: u32,
        samples: u32,
        momentum: f32,
        cumulative: u32,
        unbiased: u32,
        pad: [u32; 3],
    }
    /// Segments that are converted one by one.
    Each, "each", "lib/each.wgsl" { segments: u32, grain: u32, phase: u32, pad: u32, }
    /// Where the elements of a parameter over a partition of its own are.
    Broadcast, "broadcast", "lib/broadcast.wgsl" { lookup: Lookup, first: u32, len: u32, stride: u32, pad: u32, }
    /// The terms of a sum that is normalized.
    Before, "before", "lib/before/fused.wgsl" { slope: f32, pad: [u32; 3], }
    /// An epilogue.
    After, "after", "lib/after/fused.wgsl" { factor: f32, slope: f32, gate_slope: f32, pad: u32, }
    /// The members of a list's segments.
    Decompose, "decompose", "decompose.wgsl" { dims: [u32; 4], segments: u32, grain: u32, phase: u32, pad: u32, }
    /// Scales of rows or blocks.
    Scales, "scales", "scales.wgsl" { width: u32, block: u32, blocks: u32, largest: f32, least: f32, pad: [u32; 3], }
    /// Bytes, and where their scales are.
    Quantize, "quantize", "quantize.wgsl" {
        elements: u32,
        words: u32,
        phase: u32,
        width: u32,
        block: u32,
        blocks: u32,
        pad: [u32; 2],
    }
    /// The eps of a divisor that is the root of variance + eps.
    Eps, "eps", "lib/held/eps.wgsl" { inside: f32, square_root: f32, pad: [u32; 2], }
    /// Segments that are rows of memory, held in registers.
    HeldRow, "held", "lib/held/row.wgsl" {
        segments: u32,
        width: u32,
        turns: u32,
        len: f32,
        inverse_len: f32,
        pad: [u32; 3],
    }
    /// Segments that are columns of rows of memory, held in registers.
    HeldTile, "held", "lib/held/tile.wgsl" {
        rows: u32,
        vectors: u32,
        tiles: u32,
        outer: u32,
        turns: u32,
        len: f32,
        inverse_len: f32,
        pad: u32,
    }
    /// How gradient sums enter the gradient to the input.
    Sums, "sums", "lib/gradient/sums.wgsl" { products: u32, pad: [u32; 3], }
    /// Where the statistics of gradients are.
    Gradients, "gradients", "lib/source/gradients.wgsl" {
        statistics: Lookup,
        first_row: u32,
        first_column: u32,
        pad: [u32; 2],
    }
    /// Where sums of columns go.
    ColumnSums, "column_sums", "lib/gradient/column_sums.wgsl" {
        first: u32,
        stride: u32,
        factor_scale: f32,
        factor_bias: f32,
    }
    /// Gradients of rows whose parameters belong to columns.
    RowBackward, "row_backward", "row_backward.wgsl" {
        rows: u32,
        parts: u32,
        workers: u32,
        width: u32,
        inverse_len: f32,
        pad: [u32; 3],
    }
    /// Gradients of segments whose parameters belong to runs.
    RunBackward, "run_backward", "run_backward.wgsl" {
        segments: u32,
        runs: u32,
        width: u32,
        inverse_len: f32,
        len: f32,
        pad: [u32; 3],
    }
    /// The map from coefficients to the gradient to the input.
    MapBackward, "map_backward", "map_backward.wgsl" {
        statistics: Lookup,
        rows: u32,
        width: u32,
        tiles: u32,
        slices: u32,
        slice_rows: u32,
        groups: u32,
        first_row: u32,
        first_column: u32,
    }
    /// Partial sums of columns, to gradients.
    MergeColumns, "merge_columns", "merge_columns.wgsl" {
        partials: u32,
        units: u32,
        stride: u32,
        parameters: u32,
        run: u32,
        repeats: u32,
        factor_scale: f32,
        factor_bias: f32,
        tiles: u32,
        pad: [u32; 3],
    }
    /// Gradient sums in parts.
    Parts, "parts", "lib/parts.wgsl" {
        statistics: [u32; 4],
        affine: [u32; 4],
        slices: u32,
        stride: u32,
        columns: u32,
        lines: u32,
        affine_columns: u32,
        affine_lines: u32,
        affine_groups: u32,
        factor_scale: f32,
        factor_bias: f32,
        pad: [u32; 3],
    }
}

impl Exact {
    pub(crate) const NEW: Self = Self { one: 1.0, nothing: 0.0, zero: 0, nan: f32::NAN.to_bits() };
}

impl Lanes {
    /// A power of two.
    pub(crate) fn new(count: u32) -> Self {
        Self { count, log2: count.ilog2(), pad: [0; 2] }
    }
}

impl From<&moments::Divisor> for Divisor {
    fn from(divisor: &moments::Divisor) -> Self {
        Self {
            eps_inside: divisor.inside,
            eps_added: divisor.added,
            eps_minimum: divisor.minimum,
            factor: divisor.factor,
            order: divisor.p,
            inverse_of_zero: divisor.inverse_of_zero,
            eps_root: divisor.inside.signum() * divisor.inside.abs().sqrt(),
            folded_scale: if divisor.infinities.folds_scale() { f32::INFINITY.to_bits() } else { u32::MAX },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The structs of a fragment, without its functions.
    fn structs(text: &str) -> String {
        let mut all = String::new();
        let mut inside = false;
        for line in text.lines() {
            inside |= line.starts_with("struct ");
            if inside {
                all.push_str(line);
                all.push('\n');
            }
            inside &= !line.contains('}');
        }
        all
    }

    /// Members have the offsets that naga gives them in WGSL, and blocks are whole vectors of 16 bytes.
    #[test]
    fn blocks_are_laid_out_as_in_wgsl() {
        let lookup = include_str!("../../shaders/lib/lookup.wgsl");
        for (name, text, size, expected) in table() {
            let own = structs(text);
            let own =
                own.split_inclusive("}\n").filter(|s| s.contains(&format!("struct {name} {{"))).collect::<String>();
            let nested = if name == "Lookup" { String::new() } else { structs(lookup) };
            let source = format!("{nested}{own}");
            let module = naga::front::wgsl::parse_str(&source).unwrap_or_else(|e| panic!("{name}: {e}\n{source}"));
            let (_, ty) = module.types.iter().find(|(_, t)| t.name.as_deref() == Some(name)).unwrap();
            let naga::TypeInner::Struct { members, span } = &ty.inner else { panic!("{name} is no struct") };
            let actual: Vec<_> = members.iter().map(|m| (m.name.as_deref().unwrap(), m.offset as usize)).collect();
            let expected: Vec<_> = expected.into_iter().filter(|(name, _)| *name != "pad").collect();
            assert_eq!(actual, expected, "{name}");
            assert!(size.is_multiple_of(16) && size >= *span as usize, "{name}: {size} bytes");
        }
    }
}
