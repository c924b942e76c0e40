//! Files of `shaders/` as text. A module for browsers is downloaded, so it carries them without comments and
//! indentation, by the compiler's own work; everywhere else they are what people read.

/// The text of a file.
macro_rules! shader {
    ($path:literal) => {{
        const TEXT: &str = include_str!(concat!("../../shaders/", $path));
        #[cfg(not(target_arch = "wasm32"))]
        {
            TEXT
        }
        #[cfg(target_arch = "wasm32")]
        {
            const LEN: usize = $crate::kernel::terse::terse::<0>(TEXT).1;
            const TERSE: &str = match std::str::from_utf8(&$crate::kernel::terse::terse::<LEN>(TEXT).0) {
                Ok(text) => text,
                Err(_) => unreachable!(),
            };
            TERSE
        }
    }};
}
pub(super) use shader;

/// A text without comments, empty lines, and spaces at the ends of lines; of the spaces at their beginning one stays,
/// by which the pruner tells what is inside a declaration. As many bytes of it as there is room for, and their number.
#[cfg(any(test, target_arch = "wasm32"))]
pub(super) const fn terse<const N: usize>(text: &str) -> ([u8; N], usize) {
    let text = text.as_bytes();
    let (mut out, mut len) = ([0; N], 0);
    let mut at = 0;
    while at < text.len() {
        let line = at;
        while at < text.len() && text[at] == b' ' {
            at += 1;
        }
        let first = at;
        while at < text.len() && text[at] != b'\n' && !(text[at] == b'/' && at + 1 < text.len() && text[at + 1] == b'/')
        {
            at += 1;
        }
        let mut end = at;
        while end > first && text[end - 1] == b' ' {
            end -= 1;
        }
        while at < text.len() && text[at] != b'\n' {
            at += 1;
        }
        at += 1;
        if end == first {
            continue;
        }
        let mut from = if first > line { first - 1 } else { first };
        while from < end {
            if len < N {
                out[len] = text[from];
            }
            (from, len) = (from + 1, len + 1);
        }
        if len < N {
            out[len] = b'\n';
        }
        len += 1;
    }
    (out, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str) -> String {
        let (bytes, len) = terse::<0x10000>(text);
        String::from_utf8(bytes[..len].to_vec()).expect("text")
    }

    #[test]
    fn what_only_people_read_is_left_out() {
        let text =
            "// A file.\n\nfn f(x: u32) -> u32 {  // of x\n    // by two\n    return x / 2u;\n\n}\nconst N = 2u;";
        assert_eq!(made(text), "fn f(x: u32) -> u32 {\n return x / 2u;\n}\nconst N = 2u;\n");
        assert_eq!(made(""), "");
    }

    /// Every file says the same without it: what is left of all words and signs.
    #[test]
    fn nothing_else_is_left_out() {
        let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders"))];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                if path.extension().is_none_or(|extension| extension != "wgsl") {
                    continue;
                }
                let text = std::fs::read_to_string(&path).expect("a text");
                let code = |line: &str| line.split("//").next().unwrap_or_default().trim().to_owned();
                let lines = |text: &str| text.lines().map(code).filter(|line| !line.is_empty()).collect::<Vec<_>>();
                assert!(!text.contains("/*"), "{}", path.display());
                assert_eq!(lines(&made(&text)), lines(&text), "{}", path.display());
                files += 1;
            }
        }
        assert!(files > 50, "{files} files");
    }
}
