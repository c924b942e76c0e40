//! A kernel's text without what it does not use: fragments are written for many kernels, a kernel is to be read as one
//! text.

/// A declaration at the start of a line, with the comment above it.
struct Item<'a> {
    text: &'a str,
    /// What it declares; an entry point or an override is kept in any case.
    name: Option<&'a str>,
}

/// `texts` without the declarations that nothing uses which is kept, nor `others`; a text of which nothing is kept is
/// left out.
///
/// By lines: declarations start in the first column, and their last line is the first one that starts with `}` or ends
/// with `;` or `}`.
pub(super) fn prune(texts: &[&str], others: &str) -> Vec<String> {
    let items: Vec<Vec<Item<'_>>> = texts.iter().map(|text| items(text)).collect();
    let all: Vec<&Item<'_>> = items.iter().flatten().collect();
    // sorted, not hashed: a module for browsers has no other use for hash tables
    let mut by_name: Vec<(&str, usize)> =
        all.iter().enumerate().filter_map(|(i, item)| Some((item.name?, i))).collect();
    by_name.sort_unstable();
    let mut kept: Vec<bool> = all.iter().map(|item| item.name.is_none()).collect();
    let mut open: Vec<usize> = (0..all.len()).filter(|&i| kept[i]).collect();
    let mut reach = |text: &str, open: &mut Vec<usize>| {
        for word in words(text) {
            let Ok(at) = by_name.binary_search_by_key(&word, |(name, _)| name) else { continue };
            let used = by_name[at].1;
            if !std::mem::replace(&mut kept[used], true) {
                open.push(used);
            }
        }
    };
    reach(others, &mut open);
    while let Some(next) = open.pop() {
        reach(all[next].text, &mut open);
    }
    let mut number = 0;
    let mut out = Vec::new();
    for (text, items) in texts.iter().zip(&items) {
        let first = number;
        number += items.len();
        let own: String = (first..number).filter(|&i| kept[i]).map(|i| items[i - first].text).collect();
        if !own.is_empty() {
            out.push(format!("{}{}", header(text), own.trim_start_matches('\n')));
        }
    }
    out
}

/// The comment that opens a text.
fn header(text: &str) -> &str {
    let end = text.lines().take_while(|line| line.starts_with("//")).map(|line| line.len() + 1).sum::<usize>();
    &text[..end.min(text.len())]
}

fn items(text: &str) -> Vec<Item<'_>> {
    let mut all = Vec::new();
    let mut start = header(text).len();
    let mut at = start;
    let mut open = false;
    for line in text[start..].split_inclusive('\n') {
        at += line.len();
        let code = line.trim_ascii_end();
        let comment = code.is_empty() || code.starts_with("//");
        let closes = code.starts_with('}') || !open && (code.ends_with(';') || code.ends_with('}'));
        // a remark after a declaration of one line
        let remark = !open && code.split(" //").next().is_some_and(|code| code.trim_ascii_end().ends_with([';', '}']));
        if !comment && (closes || remark) {
            all.push(Item { text: &text[start..at], name: name(&text[start..at]) });
            start = at;
            open = false;
        } else if !comment {
            open = true;
        }
    }
    all
}

/// The name that a declaration gives; none for what is always kept.
fn name(item: &str) -> Option<&str> {
    let code = item.lines().find(|line| !line.is_empty() && !line.starts_with("//"))?;
    let mut words = code.split([' ', '(', ':', '=', ';']);
    match words.next()? {
        "fn" | "struct" | "alias" | "const" => words.next(),
        "var<private>" | "var<workgroup>" => words.next(),
        // pipeline constants are set by name; an entry point starts with its attributes
        _ => None,
    }
}

/// Identifiers, those of comments left out.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_uses_is_left_out() {
        let lib = "// Sums.\nstruct Two {\n    a: u32,  // one\n    b: u32,\n}\nconst N = 2u; // of them\n\n// Not used.\n\
                   fn other(x: u32) -> u32 { return unknown(x); }\nfn sum(t: Two) -> u32 {\n    return t.a + t.b; // other\n}\n";
        let unused = "// Nothing.\nfn nothing() { }\n";
        let kernel = "// The kernel.\noverride SIZE: u32 = 1u;\nvar<private> x: u32;\n@compute @workgroup_size(SIZE)\nfn main() {\n    x = sum(Two(N, 1u));\n}\n";
        let pruned = prune(&[lib, unused, kernel], "").concat();
        assert!(!pruned.contains("other(") && !pruned.contains("nothing"), "{pruned}");
        for kept in [
            "// Sums.\nstruct Two",
            "const N = 2u; // of them",
            "fn sum(",
            "override SIZE",
            "var<private> x",
            "fn main()",
        ] {
            assert!(pruned.contains(kept), "{kept} in {pruned}");
        }
        let called = prune(&[lib, unused], "other(1u)").concat();
        assert!(called.contains("fn other") && !called.contains("fn sum"), "{called}");
    }
}
