//! A request, read field by field. What is wrong is said with the path to it.

use std::cell::OnceCell;

use serde_json::Value;

use crate::error::{ArgumentError, Result};

/// The largest whole number below which a double holds all others.
const LARGEST_WHOLE: f64 = 9_007_199_254_740_991.0;

/// A value and where it stands.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    pub value: &'a Value,
    name: Name<'a>,
    parent: Option<&'a Field<'a>>,
}

#[derive(Clone, Copy)]
enum Name<'a> {
    Field(&'a str),
    Index(usize),
}

/// Lists of axes that a descriptor borrows: it names seven at most.
#[derive(Default)]
pub(crate) struct Arena([OnceCell<Vec<usize>>; 8]);

impl Arena {
    pub(crate) fn keep(&self, axes: Vec<usize>) -> &[usize] {
        match self.0.iter().find(|cell| cell.get().is_none()) {
            Some(free) => free.get_or_init(|| axes),
            None => unreachable!("a descriptor with more than {} lists of axes", self.0.len()),
        }
    }
}

impl<'a> Field<'a> {
    /// A whole request.
    pub(crate) fn root(value: &'a Value) -> Self {
        Self { value, name: Name::Field(""), parent: None }
    }

    /// As in JavaScript: `descriptor.shape[1]`.
    pub(crate) fn path(&self) -> String {
        let parent = self.parent.map_or_else(String::new, Self::path);
        match self.name {
            Name::Index(index) => format!("{parent}[{index}]"),
            Name::Field(name) if parent.is_empty() => name.to_owned(),
            Name::Field(name) => format!("{parent}.{name}"),
        }
    }

    /// Checks that this is an object without other fields than these.
    pub(crate) fn only(&self, known: &[&'static str]) -> Result<()> {
        let Some(object) = self.value.as_object() else { return self.wrong("an object") };
        match object.keys().find(|field| !known.contains(&field.as_str())) {
            Some(field) => {
                let (path, known) = (self.path(), known.to_vec());
                Err(ArgumentError::UnknownField { path, field: field.clone(), known }.into())
            }
            None => Ok(()),
        }
    }

    /// A field; JavaScript's `undefined` and `null` are as good as none.
    pub(crate) fn get<'b>(&'b self, name: &'b str) -> Option<Field<'b>> {
        self.nullable(name).filter(|field| !field.value.is_null())
    }

    /// A field, `null` too.
    pub(crate) fn nullable<'b>(&'b self, name: &'b str) -> Option<Field<'b>> {
        let value = self.value.get(name)?;
        Some(Field { value, name: Name::Field(name), parent: Some(self) })
    }

    /// A field that has to be there.
    pub(crate) fn required<'b>(&'b self, name: &'b str) -> Result<Field<'b>> {
        let missing = || {
            let absent = Field { value: &Value::Null, name: Name::Field(name), parent: Some(self) };
            ArgumentError::Missing { path: absent.path() }.into()
        };
        self.get(name).ok_or_else(missing)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The one field of an object.
    pub(crate) fn tag(&self, known: &[&'static str]) -> Result<Field<'_>> {
        self.only(known)?;
        let mut all = known.iter().filter_map(|name| self.get(name));
        match (all.next(), all.next()) {
            (Some(field), None) => Ok(field),
            _ => self.wrong("an object of one field"),
        }
    }

    /// The name of a field.
    pub(crate) fn name(&self) -> &'a str {
        if let Name::Field(name) = self.name { name } else { "" }
    }

    /// Refuses it: something else is expected.
    pub(crate) fn wrong<T>(&self, expected: &'static str) -> Result<T> {
        Err(ArgumentError::WrongType { path: self.path(), expected, actual: what(self.value) }.into())
    }

    pub(crate) fn text(&self) -> Result<&'a str> {
        match self.value.as_str() {
            Some(text) => Ok(text),
            None => self.wrong("a text"),
        }
    }

    /// A flag among the fields.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool> {
        let Some(field) = self.get(name) else { return Ok(default) };
        match field.value.as_bool() {
            Some(value) => Ok(value),
            None => field.wrong("true or false"),
        }
    }

    /// A word, as its place among those that are known.
    pub(crate) fn place(&self, known: &mut dyn Iterator<Item = &'static str>) -> Result<usize> {
        let text = self.text()?;
        let known: Vec<_> = known.collect();
        match known.iter().position(|word| *word == text) {
            Some(place) => Ok(place),
            None => {
                let (path, actual) = (self.path(), text.chars().take(40).collect());
                Err(ArgumentError::UnknownWord { path, actual, known }.into())
            }
        }
    }

    /// A word among the fields, as its value; the first by default.
    pub(crate) fn word<T: Copy>(&self, name: &str, words: &[(&'static str, T)]) -> Result<T> {
        match self.get(name) {
            None => Ok(words[0].1),
            Some(field) => field.one_of(words),
        }
    }

    /// A word, as its value.
    pub(crate) fn one_of<T: Copy>(&self, words: &[(&'static str, T)]) -> Result<T> {
        Ok(words[self.place(&mut words.iter().map(|(word, _)| *word))?].1)
    }

    /// A number, also one that JSON has no way to write: the recorder sends its name.
    pub(crate) fn number(&self) -> Result<f32> {
        match self.value {
            Value::String(name) if name == "NaN" => Ok(f32::NAN),
            Value::String(name) if name == "Infinity" => Ok(f32::INFINITY),
            Value::String(name) if name == "-Infinity" => Ok(f32::NEG_INFINITY),
            Value::Number(number) => Ok(number.as_f64().unwrap_or(f64::NAN) as f32),
            _ => self.wrong("a number"),
        }
    }

    /// A whole number that a double holds exactly.
    pub(crate) fn whole(&self) -> Result<u64> {
        match self.value.as_f64() {
            Some(number) if number.fract() == 0.0 && (0.0..=LARGEST_WHOLE).contains(&number) => Ok(number as u64),
            _ => self.wrong("a whole number from 0 on"),
        }
    }

    /// A whole number of 32 bits.
    pub(crate) fn small(&self) -> Result<u32> {
        match u32::try_from(self.whole()?) {
            Ok(number) => Ok(number),
            Err(_) => self.wrong("a whole number below 2^32"),
        }
    }

    /// A whole number among the fields.
    pub(crate) fn optional_whole(&self, name: &str) -> Result<Option<u64>> {
        self.get(name).map(|field| field.whole()).transpose()
    }

    /// Whole numbers.
    pub(crate) fn list(&self) -> Result<Vec<u64>> {
        let Some(list) = self.value.as_array() else { return self.wrong("a list of whole numbers") };
        let item = |(index, value)| Field { value, name: Name::Index(index), parent: Some(self) }.whole();
        list.iter().enumerate().map(item).collect()
    }

    /// Axes, which a tensor has few of.
    pub(crate) fn axes<'l>(&self, lists: &'l Arena) -> Result<&'l [usize]> {
        Ok(lists.keep(self.list()?.into_iter().map(|axis| usize::try_from(axis).unwrap_or(usize::MAX)).collect()))
    }

    /// A list of axes among the fields.
    pub(crate) fn optional_axes<'l>(&self, name: &str, lists: &'l Arena) -> Result<Option<&'l [usize]>> {
        self.get(name).map(|field| field.axes(lists)).transpose()
    }
}

/// A value in few words.
fn what(value: &Value) -> String {
    match value {
        Value::Null => "missing".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.chars().take(40).collect(),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(object) if object.contains_key("gpuBuffer") => "a GPUBuffer".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
