//! What a file is whose name promises tensors: its first bytes tell.

/// How much of a file is enough.
pub(super) const ENOUGH: usize = 4096;

/// Characters of a text that are shown.
const SHOWN: usize = 40;

/// First bytes, what begins with them, and the way to a file of tensors.
const BEGINNINGS: &[(&[u8], &str, &str)] = &[
    (b"\x93NUMPY", "a .npy file", NAMED),
    // bytes above 127 replaced, or taken for Latin-1 and written as UTF-8
    (b"\xef\xbf\xbdNUMPY", "a .npy file that was copied as text, which destroyed it", BINARY),
    (b"\xc2\x93NUMPY", "a .npy file that was copied as text, which destroyed it", BINARY),
    // the old format begins with a number of 80 bits that is PyTorch's own
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "a PyTorch checkpoint of before 1.6", TORCH),
    (b"\x80\x02", "a Python pickle", PICKLE),
    (b"\x80\x03", "a Python pickle", PICKLE),
    (b"\x80\x04", "a Python pickle", PICKLE),
    (b"\x80\x05", "a Python pickle", PICKLE),
    (b"cnumpy", "a Python pickle", PICKLE),
    (b"ccopy_reg", "a Python pickle", PICKLE),
    (b"ccollections", "a Python pickle", PICKLE),
    (b"(dp", "a Python pickle", PICKLE),
    (b"(lp", "a Python pickle", PICKLE),
    (b"\x1f\x8b", "compressed by gzip", "unpack it with gunzip"),
    (b"\xfd7zXZ\0", "compressed by xz", "unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it with unzstd"),
    (b"BZh", "compressed by bzip2", "unpack it with bunzip2"),
    (b"\x04\x22\x4d\x18", "compressed by lz4", "unpack it with unlz4"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"Rar!", "a RAR archive", UNPACK),
    (b"PK\x05\x06", "a zip archive without a member", NUMPY),
    (b"PK\x07\x08", "a part of a split zip archive", UNPACK),
    (b"GGUF", "a GGUF model", "convert its tensors with the Python package gguf"),
    (b"lmgg", "a GGML model", CONVERT),
    (b"tjgg", "a GGML model", CONVERT),
    (b"fmgg", "a GGML model", CONVERT),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "read it with h5py and write it with numpy.save"),
    (b"CDF\x01", "a NetCDF file", NUMPY),
    (b"CDF\x02", "a NetCDF file", NUMPY),
    (b"MATLAB", "a MATLAB file", "read it with scipy.io.loadmat and write it with numpy.save"),
    (b"ARROW1", "an Arrow file", NUMPY),
    (b"PAR1", "a Parquet file", NUMPY),
    (b"SIMPLE  =", "a FITS file", NUMPY),
    (b"SQLite format 3\0", "an SQLite database", NUMPY),
    (b"\x89PNG\r\n", "a PNG image", PICTURE),
    (b"\xff\xd8\xff", "a JPEG image", PICTURE),
    (b"GIF8", "a GIF image", PICTURE),
    (b"II*\0", "a TIFF image", PICTURE),
    (b"MM\0*", "a TIFF image", PICTURE),
    (b"RIFF", "a RIFF file (sound, picture or film)", NUMPY),
    (b"%PDF", "a PDF document", OTHER),
    (b"\x7fELF", "a program", OTHER),
    (b"MZ", "a program", OTHER),
];

const NAMED: &str = "give it a name that ends in .npy";
const BINARY: &str = "copy the original again, as binary";
const TORCH: &str = "load it with torch.load and write it with safetensors.torch.save_file";
const PICKLE: &str = "load it with Python where you trust it, and write its arrays with numpy.save";
const UNPACK: &str = "unpack it";
const NUMPY: &str = "write its tensors with numpy.save or safetensors";
const PICTURE: &str = "read it in Python (PIL) and write it with numpy.save, as float32";
const CONVERT: &str = "convert it to safetensors";
const DOWNLOAD: &str = "download the file itself";
const OTHER: &str = "give the file that you mean";

/// What a file is that begins with these bytes (some thousands are enough) and is no safetensors file, and the way to
/// one, in words: a git LFS pointer, an archive, a PyTorch checkpoint, a page of HTML. `None` where nothing is known.
///
/// ```
/// let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 438\n";
/// let words = wgpu_norm::foreign_format(pointer).unwrap();
/// assert_eq!(words, "a git LFS pointer to a file of 438 bytes: fetch that with `git lfs pull`");
/// ```
pub fn foreign_format(start: &[u8]) -> Option<String> {
    let start = &start[..start.len().min(ENOUGH)];
    if start.is_empty() {
        return Some(format!("empty: {DOWNLOAD}"));
    }
    if is_safetensors(start) {
        return Some("a .safetensors file: give it a name that ends in .safetensors".to_owned());
    }
    if start.starts_with(b"PK\x03\x04") {
        return Some(archive(start));
    }
    if let Some((_, is, way)) = BEGINNINGS.iter().find(|(beginning, ..)| start.starts_with(beginning)) {
        return Some(format!("{is}: {way}"));
    }
    if start.get(257..262) == Some(b"ustar") {
        return Some(format!("a tar archive: {UNPACK}"));
    }
    if start.get(4..8) == Some(b"TFL3") {
        return Some(format!("a TensorFlow Lite model: {CONVERT}"));
    }
    // version of the format, then the producer: field 1, a number; field 2, a string
    if let [0x08, 1..=20, 0x12, 1..=40, producer, ..] = start
        && producer.is_ascii_alphanumeric()
    {
        return Some("an ONNX model: write its initializers with numpy.save or safetensors".to_owned());
    }
    if start.len() >= 16 && start.iter().all(|&byte| byte == 0) {
        return Some(format!("nothing but zeros, as an interrupted download leaves: {DOWNLOAD}"));
    }
    // in ASCII, every other byte is 0
    if let [0xff, 0xfe, low, 0, ..] | [0xfe, 0xff, 0, low, ..] = start
        && !low.is_ascii_control()
    {
        return Some("text in UTF-16, which PowerShell's > makes of binary data: copy the original".to_owned());
    }
    text(start)
}

/// Whether a file begins as a safetensors file: the length of the header, and the header as JSON.
pub(super) fn is_safetensors(start: &[u8]) -> bool {
    // the limit of the format itself
    const MAX_HEADER: u64 = 100_000_000;
    let len = start.first_chunk().map(|len| u64::from_le_bytes(*len));
    len.is_some_and(|len| len <= MAX_HEADER) && start.get(8) == Some(&b'{')
}

/// A zip archive, by the name of its first member.
fn archive(start: &[u8]) -> String {
    let len = start.get(26..28).map_or(0, |len| usize::from(u16::from_le_bytes([len[0], len[1]])));
    let name = start.get(30..).map_or(&[][..], |rest| &rest[..len.min(rest.len())]);
    let (is, way) = if name.ends_with(b".npy") {
        ("an .npz archive", "give it a name that ends in .npz")
    } else if name.ends_with(b"data.pkl") {
        ("a PyTorch checkpoint", TORCH)
    } else if name.starts_with(b"metadata.json") || name.starts_with(b"config.json") {
        ("a Keras model or another zip archive", UNPACK)
    } else {
        ("a zip archive", UNPACK)
    };
    format!("{is}: {way}")
}

/// Text of any kind.
fn text(start: &[u8]) -> Option<String> {
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // a character may be cut where the bytes end
        Err(error) if start.len() - error.valid_up_to() < 4 && error.valid_up_to() > 0 => {
            std::str::from_utf8(&start[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return None;
    }
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let lower = text.to_ascii_lowercase();
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| lower.starts_with(beginning));
    if begins(&["version https://git-lfs", "version https://hawser"]) {
        let size = text.lines().find_map(|line| line.strip_prefix("size ")).and_then(|size| size.trim().parse().ok());
        let of = size.map(|size: u64| format!(" to a file of {size} bytes")).unwrap_or_default();
        return Some(format!("a git LFS pointer{of}: fetch that with `git lfs pull`"));
    }
    if begins(&["<!doctype html", "<html", "<head", "<body"]) {
        return Some(format!("an HTML page, as servers send in place of a file: {DOWNLOAD}"));
    }
    if begins(&["<?xml", "<error>"]) {
        return Some(format!("an XML document, as servers send in place of a file: {DOWNLOAD}"));
    }
    if begins(&["{", "["]) {
        return Some(match lower.contains("\"weight_map\"") {
            true => "the JSON index of a checkpoint in parts: name one of the .safetensors files in it".to_owned(),
            false => format!("JSON text: {OTHER}"),
        });
    }
    let shown: String = text.chars().take(SHOWN).collect();
    Some(format!("text that begins with {shown:?}: {OTHER}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A zip archive's first member.
    fn member(name: &str) -> Vec<u8> {
        let mut bytes = b"PK\x03\x04".to_vec();
        bytes.resize(26, 0);
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(name.as_bytes());
        bytes
    }

    #[test]
    fn files_are_told_by_their_first_bytes() {
        let mut tar = vec![b'x'; 257];
        tar.extend(b"ustar\x0000");
        let index = br#"{"metadata": {"total_size": 9}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}"#;
        let cases: &[(&[u8], &str)] = &[
            (b"", "empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n", "to a file of 1234 bytes"),
            (b"version https://git-lfs.github.com/spec/v1\n", "a git LFS pointer: "),
            (b"\x93NUMPY\x01\0v\0", "a .npy file: "),
            (b"\xef\xbf\xbdNUMPY\x01", "copied as text"),
            (&member("arr_0.npy"), "an .npz archive"),
            (&member("archive/data.pkl"), "a PyTorch checkpoint: load it with torch.load"),
            (&member("metadata.json"), "a Keras model"),
            (&member("notes.txt"), "a zip archive"),
            (b"PK\x03\x04", "a zip archive"),
            (b"PK\x05\x06\0\0", "without a member"),
            (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M", "a PyTorch checkpoint of before 1.6"),
            (b"\x80\x04\x95\x10\0\0\0\0\0\0\0}", "a Python pickle"),
            (b"(dp0\nS'weight'", "a Python pickle"),
            (b"  <!DOCTYPE html>\n<html>", "an HTML page"),
            (b"<?xml version=\"1.0\"?><Error>", "an XML document"),
            (b"\x1f\x8b\x08\0", "gzip"),
            (b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0", "a GGUF model"),
            (b"\x89HDF\r\n\x1a\n\0", "an HDF5 file"),
            (index, "the JSON index of a checkpoint in parts"),
            (b"{\"a\": 1}", "JSON text"),
            (b"\x08\x08\x12\x07pytorch", "an ONNX model"),
            (&tar, "a tar archive"),
            (b"\x1c\0\0\0TFL3", "a TensorFlow Lite model"),
            (&[0; 64], "nothing but zeros"),
            (b"\xff\xfev\0e\0", "UTF-16"),
            (b"Entry not found", "text that begins with \"Entry not found\""),
            (b"0.1, 0.2\n0.3, 0.4\n", "text that begins"),
            (b"\x02\0\0\0\0\0\0\0{}", "a .safetensors file"),
        ];
        for (bytes, expected) in cases {
            let words = foreign_format(bytes).unwrap_or_default();
            assert!(words.contains(expected) && words.contains(": "), "{words:?} should say {expected:?}");
        }
    }

    #[test]
    fn nothing_is_said_of_what_is_not_known() {
        for bytes in [&[1u8, 2][..], &[0xff; 8], b"\x01\x02\x03 text", &[0; 3]] {
            assert_eq!(foreign_format(bytes), None, "{bytes:?}");
        }
    }
}
