//! One tensor of a file that holds several: by its name, behind a prefix or not.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::file_error::FileError;
use crate::files::Choice;

/// Names listed in an error.
const LISTED: usize = 8;

/// What ends a prefix that is found: the path of a module.
const SEPARATORS: [char; 3] = ['.', '/', ':'];

/// What stands before the names of tensors: given for all files, or found in each, where it is the same for all names.
#[derive(Debug, Default)]
pub struct Prefix<'a> {
    given: Option<&'a str>,
    found: RefCell<BTreeMap<PathBuf, String>>,
}

impl<'a> Prefix<'a> {
    /// As somebody gave it, or to be found.
    pub fn new(given: Option<&'a str>) -> Self {
        Self { given, found: RefCell::default() }
    }

    /// As somebody gave it.
    pub(crate) fn given(&self) -> Option<&'a str> {
        self.given
    }

    /// Takes what was found before a name; two modules of one file are not mixed by chance.
    pub(crate) fn agree(&self, path: &Path, name: &str, before: &str) -> Result<(), FileError> {
        let mut found = self.found.borrow_mut();
        let earlier = found.entry(path.to_owned()).or_insert_with(|| before.to_owned());
        if earlier == before {
            return Ok(());
        }
        let (name, earlier, prefix) = (name.to_owned(), earlier.clone(), before.to_owned());
        Err(FileError::OtherPrefix { name, earlier, prefix })
    }
}

/// Which of the sorted `names` is meant: the one that is called so; without a prefix also the only one that ends so,
/// behind the path of a module (`module.`, `model.`); without a name the only one there is.
pub(crate) fn choose(names: &[String], choice: Choice<'_>) -> Result<String, FileError> {
    let Choice { name, prefix, option } = choice;
    let within: Vec<&String> = names.iter().filter(|name| name.starts_with(prefix.unwrap_or(""))).collect();
    let Some(wanted) = name else {
        return match (within[..].len(), names.len(), prefix) {
            (1, ..) => Ok(within[0].clone()),
            (0, 0, _) => Err(FileError::Header("it holds no tensor".to_owned())),
            (0, _, Some(prefix)) => {
                Err(FileError::NoSuchTensor { name: format!("{prefix}..."), available: list(names) })
            }
            _ => Err(FileError::ChooseTensor { option, available: list(within) }),
        };
    };
    let whole = format!("{}{wanted}", prefix.unwrap_or(""));
    if names.contains(&whole) {
        return Ok(whole);
    }
    let is_prefix = |before: &str| before.ends_with(SEPARATORS);
    let ends = |name: &&String| name.strip_suffix(wanted).is_some_and(is_prefix);
    let found: Vec<&String> = names.iter().filter(ends).collect();
    match (&found[..], prefix) {
        ([only], None) => Ok((*only).clone()),
        ([_, _, ..], None) => Err(FileError::SeveralSuch { name: whole, available: list(found) }),
        ([], _) | (_, Some(_)) => Err(FileError::NoSuchTensor { name: whole, available: list(names) }),
    }
}

/// The first names, and how many more there are.
fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    let mut text = names.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    if let Some(more @ 1..) = names.len().checked_sub(LISTED) {
        text += &format!(" and {more} more");
    }
    if text.is_empty() { "none".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_found_by_their_names() {
        let names = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let (flat, wrapped, twice) = (names("bias weight"), names("model.bias model.weight"), names("a.w b/w xw"));
        /// Names in the file, name, prefix, what is found or said.
        type Case<'a> = (&'a [String], Option<&'a str>, Option<&'a str>, Result<&'a str, &'a str>);
        let cases: &[Case] = &[
            (&flat, Some("weight"), None, Ok("weight")),
            (&flat, Some("eight"), None, Err("no tensor 'eight'; it holds bias, weight")),
            (&flat, None, None, Err("several tensors, name one with OPTION: bias, weight")),
            (&flat, None, Some("w"), Ok("weight")),
            (&flat, None, Some("x."), Err("no tensor 'x....'; it holds bias, weight")),
            (&wrapped, Some("weight"), None, Ok("model.weight")),
            (&wrapped, Some("weight"), Some("model."), Ok("model.weight")),
            (&wrapped, Some("weight"), Some("module."), Err("no tensor 'module.weight'; it holds model.bias")),
            (&twice, Some("w"), None, Err("several that end in it, choose with --prefix or the whole name: a.w, b/w")),
            (&twice, Some("w"), Some("b/"), Ok("b/w")),
            (&[], None, None, Err("it holds no tensor")),
            (&[], Some("w"), None, Err("no tensor 'w'; it holds none")),
        ];
        for &(names, name, prefix, expected) in cases {
            let found = choose(names, Choice { name, prefix, option: "OPTION" }).map_err(|error| error.to_string());
            match (&found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{error:?} should say {expected:?}"),
                _ => panic!("{name:?} {prefix:?} of {names:?}: {found:?}, not {expected:?}"),
            }
        }
        let many: Vec<String> = (10..30).map(|index| format!("layer.{index}")).collect();
        let error = choose(&many, Choice { name: Some("x"), ..Choice::default() }).unwrap_err().to_string();
        assert!(error.ends_with("layer.16, layer.17 and 12 more"), "{error}");
    }
    #[test]
    fn two_modules_of_a_file_are_not_mixed() {
        let (prefix, file) = (Prefix::new(None), Path::new("a"));
        assert!(prefix.agree(file, "weight", "x.").is_ok() && prefix.agree(file, "bias", "x.").is_ok());
        assert!(prefix.agree(Path::new("b"), "weight", "y.").is_ok());
        let error = prefix.agree(file, "bias", "y.").unwrap_err().to_string();
        assert!(error.contains("'bias' is behind 'y.', another name behind 'x.'"), "{error}");
    }
}
