//! Bytes of a block of parameters in the words of the kernel that reads them.

use naga::{Module, ScalarKind, TypeInner};
use wgpu_norm::Kernel;
use wgpu_norm_tools::failure::Failure;

/// `exact.one=1 divisor.eps_inside=0.00001 ...`: the fields of the uniform block at binding 0.
pub fn read(kernel: &Kernel, bytes: &[u8]) -> Result<String, Failure> {
    let source = kernel.source();
    let refused = |error: naga::front::wgsl::ParseError| Failure::Shader {
        kernel: kernel.to_string(),
        message: error.emit_to_string(&source),
    };
    let module = naga::front::wgsl::parse_str(&source).map_err(refused)?;
    let is_block = |binding: &naga::ResourceBinding| binding.binding == 0;
    let block = module.global_variables.iter().find(|(_, global)| global.binding.as_ref().is_some_and(is_block));
    let mut fields = Vec::new();
    if let Some((_, global)) = block {
        flatten(&module, &module.types[global.ty].inner, bytes, "", &mut fields);
    }
    Ok(fields.join(" "))
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
        TypeInner::Struct { members, .. } => {
            for member in members {
                let member_name = member.name.as_deref().unwrap_or("?");
                let path = if name.is_empty() { member_name.to_owned() } else { format!("{name}.{member_name}") };
                let rest = bytes.get(member.offset as usize..).unwrap_or_default();
                flatten(module, &module.types[member.ty].inner, rest, &path, fields);
            }
        }
        _ => fields.push(format!("{name}=?")),
    }
}
