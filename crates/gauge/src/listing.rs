//! Listings of machine code, line by line: AMD's (ACO) and NVIDIA's (NAK) as Mesa prints them.

use std::collections::HashMap;

/// What an instruction keeps busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Lanes calculate.
    Vector,
    /// A subgroup calculates, jumps or synchronizes.
    Scalar,
    /// Memory outside of the unit.
    Memory,
    /// Constants and uniforms.
    Constant,
    /// Workgroup memory.
    Workgroup,
    /// Lanes of a subgroup exchange values.
    Shuffle,
    /// A workgroup waits for all of its subgroups.
    Barrier,
    /// Hints and waits, which take no slot of a unit.
    Hint,
}

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Load,
    Store,
    Atomic,
}

/// An access of a lane to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub kind: Kind,
    pub bytes: u32,
    /// A lane's own memory: spilled registers, and arrays that found no room in them.
    pub scratch: bool,
}

/// What ends some of the loads in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// All but the newest so many.
    Newest(usize),
    /// Those of these scoreboards.
    Scoreboards(Vec<u32>),
}

/// One instruction.
#[derive(Clone, Debug)]
pub struct Instruction {
    pub class: Class,
    pub access: Option<Access>,
    pub wait: Option<Wait>,
    /// The scoreboard that a load reports to.
    pub scoreboard: Option<u32>,
    /// The label that it may jump to.
    pub target: Option<String>,
    /// What follows it is not reached from here.
    pub leaves: bool,
}

/// The code of a kernel.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub instructions: Vec<Instruction>,
    /// Where labels point.
    pub labels: HashMap<String, usize>,
}

/// The word that begins with one of `starts`, where a word begins with one.
fn word<'a>(text: &'a str, starts: &[&str]) -> Option<&'a str> {
    text.split_whitespace().find(|word| starts.iter().any(|start| word.starts_with(start)))
}

impl Listing {
    /// ACO's: `BB3:` is a label, what follows `;` is the encoding.
    pub fn amd(text: &str) -> Self {
        let mut listing = Self::default();
        for line in text.lines() {
            let line = line.split(';').next().unwrap_or_default().trim();
            match line.strip_suffix(':').filter(|label| label.starts_with("BB")) {
                Some(label) => drop(listing.labels.insert(label.to_owned(), listing.instructions.len())),
                None if line.is_empty() => {}
                None => listing.instructions.push(amd(line)),
            }
        }
        listing
    }

    /// NAK's: `block 3 L3 [...] {` begins a block.
    pub fn nvidia(text: &str) -> Self {
        let mut listing = Self::default();
        for line in text.lines().map(str::trim) {
            if line.starts_with("block") {
                let label = word(line, &["L"]).unwrap_or_default();
                listing.labels.insert(label.to_owned(), listing.instructions.len());
            } else if !line.is_empty() && !line.starts_with('}') && !line.starts_with("//") {
                listing.instructions.push(nvidia(line));
            }
        }
        listing
    }
}

fn amd(line: &str) -> Instruction {
    let (op, operands) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let access = amd_access(op);
    let class = match op {
        _ if access.is_some() => Class::Memory,
        _ if op.starts_with("s_barrier") => Class::Barrier,
        _ if ["s_waitcnt", "s_clause", "s_delay", "s_nop", "s_inst_prefetch"].iter().any(|h| op.starts_with(h)) => {
            Class::Hint
        }
        _ if op.starts_with("s_buffer_load") || op.starts_with("s_load") => Class::Constant,
        _ if op.starts_with("ds_swizzle") || op.contains("permute") || op.contains("permlane") => Class::Shuffle,
        // sums over lanes are additions whose operand comes from another lane
        _ if op.ends_with("_dpp") || ["row_", "quad_perm", "dpp8"].iter().any(|lanes| operands.contains(lanes)) => {
            Class::Shuffle
        }
        _ if op.starts_with("ds_") => Class::Workgroup,
        _ if op.starts_with("v_") => Class::Vector,
        _ => Class::Scalar,
    };
    let count = |name: &str| operands.split_once(name)?.1.split(')').next()?.parse().ok();
    let target = (op.starts_with("s_branch") || op.starts_with("s_cbranch")).then(|| operands.trim().to_owned());
    let wait = if op == "s_waitcnt" { count("vmcnt(").map(Wait::Newest) } else { None };
    let leaves = op == "s_branch" || op == "s_endpgm";
    Instruction { class, access, wait, scoreboard: None, target, leaves }
}

/// `buffer_load_dwordx4`, or `buffer_load_b128` since gfx11.
fn amd_access(op: &str) -> Option<Access> {
    let (space, rest) = op.split_once('_')?;
    if !["buffer", "global", "flat", "scratch"].contains(&space) {
        return None;
    }
    let (kind, rest) = rest.split_once('_')?;
    let kind = match kind {
        "load" => Kind::Load,
        "store" => Kind::Store,
        "atomic" => Kind::Atomic,
        _ => return None,
    };
    let size = |word: &str| {
        Some(match word {
            "b128" | "dwordx4" => 16,
            "b96" | "dwordx3" => 12,
            "b64" | "dwordx2" => 8,
            "b32" | "dword" => 4,
            "b16" | "u16" | "i16" | "ushort" | "sshort" | "short" => 2,
            "b8" | "u8" | "i8" | "ubyte" | "sbyte" | "byte" => 1,
            _ => return None,
        })
    };
    let bytes = rest.split('_').find_map(size).unwrap_or(4);
    Some(Access { kind, bytes, scratch: space == "scratch" })
}

fn nvidia(line: &str) -> Instruction {
    const OPS: [&str; 13] =
        ["ld.", "st.", "atom", "ldc", "shfl", "redux", "bar", "bra", "exit", "nop", "bssy", "bsync", "bclear"];
    let op = word(line, &OPS).unwrap_or_default();
    let access = nvidia_access(op);
    let class = match op {
        _ if access.is_some() => Class::Memory,
        _ if op.starts_with("ldc") => Class::Constant,
        _ if op.contains(".shared") => Class::Workgroup,
        _ if op.starts_with("shfl") || op.starts_with("redux") => Class::Shuffle,
        _ if op.starts_with("bar") => Class::Barrier,
        _ if op.starts_with("nop") => Class::Hint,
        "" => Class::Vector,
        _ => Class::Scalar,
    };
    let target = op.starts_with("bra").then(|| word(line, &["L"]).unwrap_or_default().to_owned());
    // `wt=000101`: waits for scoreboards 0 and 2; `wr:2`: reports to scoreboard 2
    let bits = line.split_once("wt=").map(|(_, rest)| rest.bytes().take_while(|b| matches!(b, b'0' | b'1')));
    let wait = bits.map(|bits| {
        let bits: Vec<u8> = bits.collect();
        Wait::Scoreboards((0..).zip(bits.iter().rev()).filter(|(_, bit)| **bit == b'1').map(|(k, _)| k).collect())
    });
    let scoreboard = line.split_once("wr:").and_then(|(_, rest)| rest.chars().next()?.to_digit(10));
    // a predicate before it makes it a choice
    let always = line.starts_with(op) && !op.is_empty();
    let leaves = always && (op.starts_with("bra") || op.starts_with("exit"));
    Instruction { class, access, wait, scoreboard, target, leaves }
}

/// `ld.global.a64.weak.b128`, `st.local.b32`.
fn nvidia_access(op: &str) -> Option<Access> {
    let (kind, rest) = op.split_once('.')?;
    let kind = match kind {
        "ld" => Kind::Load,
        "st" => Kind::Store,
        "atom" => Kind::Atomic,
        _ => return None,
    };
    let words: Vec<_> = rest.split('.').collect();
    if words.contains(&"shared") {
        return None;
    }
    let bits = words.iter().find_map(|word| word.strip_prefix(['b', 'u', 'i'])?.parse::<u32>().ok());
    Some(Access { kind, bytes: bits.map_or(4, |bits| bits / 8), scratch: words.contains(&"local") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amd_lines_are_read() {
        let text = "
            BB0:
            s_load_b64 s[0:1], s[2:3], 0x0 ; f4
            buffer_load_dwordx4 v[0:3], v4, s[0:3], 0 offen ; e0
            scratch_store_b32 off, v0, s0
            BB3:
            s_waitcnt vmcnt(2) lgkmcnt(0)
            v_add_f32_dpp v0, v1, v0 row_shl:1
            s_cbranch_scc1 BB3 ; bf
            s_endpgm";
        let listing = Listing::amd(text);
        let classes: Vec<_> = listing.instructions.iter().map(|i| i.class).collect();
        use Class::*;
        assert_eq!(classes, [Constant, Memory, Memory, Hint, Shuffle, Scalar, Scalar]);
        assert_eq!(listing.labels["BB3"], 3);
        let [load, store] = [1, 2].map(|at: usize| listing.instructions[at].access);
        assert_eq!(load, Some(Access { kind: Kind::Load, bytes: 16, scratch: false }));
        assert_eq!(store, Some(Access { kind: Kind::Store, bytes: 4, scratch: true }));
        assert_eq!(listing.instructions[3].wait, Some(Wait::Newest(2)));
        assert_eq!(listing.instructions[5].target.as_deref(), Some("BB3"));
        assert!(!listing.instructions[5].leaves && listing.instructions[6].leaves);
    }

    #[test]
    fn nvidia_lines_are_read() {
        let text = "
            block.u 0 L3 [] -> {
                r64..68  = ld.global.a64.constant.b128 [r56..58] // delay=1 rd:0 wr:1
                r8       = fadd.ftz r32 r8                       // delay=1 wt=000011
            @!p0           bra L3                                // delay=1
                           bra L4
            }
            block 1 L4 [0] -> {
                           exit
            }";
        let listing = Listing::nvidia(text);
        let [load, add, choice, jump, exit] = listing.instructions.as_slice() else { panic!("five instructions") };
        assert_eq!(load.access, Some(Access { kind: Kind::Load, bytes: 16, scratch: false }));
        assert_eq!((load.scoreboard, &add.wait), (Some(1), &Some(Wait::Scoreboards(vec![0, 1]))));
        assert_eq!((add.class, choice.target.as_deref(), choice.leaves), (Class::Vector, Some("L3"), false));
        assert!(jump.leaves && exit.leaves);
        assert_eq!(listing.labels["L4"], 4);
    }
}
