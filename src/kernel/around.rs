//! Fragments for what stands around a norm: terms before it, an epilogue behind it, the way back through both.

use super::fragment::{Fragment, fragment, generated, rounding, seen};
use super::key::{Entry, Kernel};
use super::surround::After;
use super::terse::shader;
use crate::operand::{Operand, WhenAbsent};

/// What the statistics see.
pub(super) fn before(kernel: &Kernel) -> Vec<Fragment> {
    if !kernel.around.before {
        return vec![fragment!("lib/before/none.wgsl")];
    }
    let mut all = activation();
    all.extend(broadcast(kernel, &[Operand::Gate, Operand::PrologueBias]));
    all.push(rounding("stored4", kernel.around.sum));
    all.push(fragment!("lib/before/fused.wgsl", "before": "Before"));
    all
}

/// What becomes of the result of the affine map.
pub(super) fn after(kernel: &Kernel) -> Vec<Fragment> {
    let mut all = vec![seen(kernel)];
    if kernel.around.after != After::None {
        all.extend(activation());
        all.extend(broadcast(kernel, &[Operand::OutGate]));
    }
    all.push(match kernel.around.after {
        After::None => fragment!("lib/after/none.wgsl"),
        After::Fused => fragment!("lib/after/fused.wgsl", "after": "After"),
        After::Delta => fragment!("lib/after/delta.wgsl", "after": "After"),
    });
    all
}

/// Where the gradient to the input goes.
pub(super) fn store(kernel: &Kernel) -> Vec<Fragment> {
    if !kernel.around.terms {
        return vec![fragment!("lib/gradient/store.wgsl")];
    }
    let mut all = activation();
    all.extend(broadcast(kernel, &[Operand::Gate]));
    all.push(fragment!("lib/gradient/store_fused.wgsl", "before": "Before"));
    all
}

/// Two affine maps in one.
pub(super) fn maps() -> Vec<Fragment> {
    let at = |field| Fragment::Made(Box::new((String::new(), Some((field, "Broadcast")))));
    vec![
        fragment!("lib/lookup.wgsl"),
        fragment!("lib/broadcast.wgsl"),
        fragment!("lib/maps.wgsl"),
        at("scale"),
        at("bias"),
        at("modulation_scale"),
        at("modulation_shift"),
    ]
}

/// By whose words a map is dealt.
pub(super) fn dealt(kernel: &Kernel) -> Fragment {
    let own = if kernel.entry == Entry::MapWords { Operand::Output } else { Operand::GradInput };
    let name = kernel.around.dealt.unwrap_or(own).name();
    generated(format!(
        "fn written_place() -> u32 {{ return p.places.{name}; }}\n\
         fn written_stride() -> u32 {{ return p.places.{name}_stride; }}\n"
    ))
}

fn activation() -> Vec<Fragment> {
    vec![fragment!("lib/activation.wgsl"), fragment!("lib/lookup.wgsl"), fragment!("lib/broadcast.wgsl")]
}

/// Functions `operand4` and `operand1` for each.
fn broadcast(kernel: &Kernel, operands: &[Operand]) -> Vec<Fragment> {
    let of = |&operand: &Operand| {
        let name = operand.name();
        if kernel.has(operand) {
            let text = shader!("lib/broadcast_of.wgsl");
            let text = text.replace("OPERAND", &name.to_ascii_uppercase()).replace("operand", name);
            return Fragment::Made(Box::new((text, Some((name, "Broadcast")))));
        }
        let none = if operand.spec().when_absent == WhenAbsent::One { "1.0" } else { "-0.0" };
        generated(format!(
            "fn {name}4(row: Row, j: u32) -> vec4<f32> {{ return vec4({none}); }}\n\
             fn {name}1(row: Row, column: u32) -> f32 {{ return {none}; }}\n"
        ))
    };
    operands.iter().map(of).collect()
}
