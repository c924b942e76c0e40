//! Bytes of a block of parameters in the words of the kernel that reads them.

use naga::{Handle, Module, ScalarKind, Type, TypeInner};
use wgpu_norm::Kernel;
use wgpu_norm_tools::failure::Failure;

/// The uniform block at binding 0 of a kernel.
pub struct Block {
    module: Module,
    ty: Option<Handle<Type>>,
}

impl Block {
    pub fn of(kernel: &Kernel) -> Result<Self, Failure> {
        let source = kernel.source();
        let refused = |error: naga::front::wgsl::ParseError| Failure::Shader {
            kernel: kernel.to_string(),
            message: error.emit_to_string(&source),
        };
        let module = naga::front::wgsl::parse_str(&source).map_err(refused)?;
        let is_block = |binding: &naga::ResourceBinding| binding.binding == 0;
        let block = module.global_variables.iter().find(|(_, global)| global.binding.as_ref().is_some_and(is_block));
        let ty = block.map(|(_, global)| global.ty);
        Ok(Self { module, ty })
    }

    /// A line for each of its parts: `  divisor: eps_inside=0.00001 factor=1`.
    pub fn lines(&self, bytes: &[u8]) -> Vec<String> {
        let Some(ty) = self.ty else { return Vec::new() };
        let parts = members(&self.module, &self.module.types[ty].inner, bytes).map(|(name, inner, bytes)| {
            let mut fields = Vec::new();
            flatten(&self.module, inner, bytes, "", &mut fields);
            format!("  {name}: {}", fields.join(" "))
        });
        parts.collect()
    }
}

/// Names and types of a struct's members, and the bytes from each on.
fn members<'a>(
    module: &'a Module,
    inner: &'a TypeInner,
    bytes: &'a [u8],
) -> impl Iterator<Item = (&'a str, &'a TypeInner, &'a [u8])> {
    let members = if let TypeInner::Struct { members, .. } = inner { members.as_slice() } else { &[] };
    members.iter().map(|member| {
        let bytes = bytes.get(member.offset as usize..).unwrap_or_default();
        (member.name.as_deref().unwrap_or("?"), &module.types[member.ty].inner, bytes)
    })
}

fn flatten(module: &Module, inner: &TypeInner, bytes: &[u8], name: &str, fields: &mut Vec<String>) {
    let words = |count: usize, kind: ScalarKind| {
        let words = bytes.chunks_exact(4).take(count).map(|word| word.try_into().unwrap_or_default());
        let number = |word: [u8; 4]| match kind {
            ScalarKind::Float => f32::from_le_bytes(word).to_string(),
            _ => u32::from_le_bytes(word).to_string(),
        };
        words.map(number).collect::<Vec<_>>().join(",")
    };
    match inner {
        TypeInner::Scalar(scalar) => fields.push(format!("{name}={}", words(1, scalar.kind))),
        TypeInner::Vector { size, scalar } => {
            fields.push(format!("{name}={}", words(usize::from(*size as u8), scalar.kind)));
        }
        TypeInner::Struct { .. } => {
            for (member, inner, bytes) in members(module, inner, bytes) {
                let path = if name.is_empty() { member.to_owned() } else { format!("{name}.{member}") };
                flatten(module, inner, bytes, &path, fields);
            }
        }
        _ => fields.push(format!("{name}=?")),
    }
}
