//! What makes a CRD narrower than an earlier one: it no longer accepts objects, or keeps them otherwise than they were written.

use std::fmt::{self, Display};

use serde_json::Value;

/// One narrowing.
#[derive(Clone, Debug, PartialEq)]
pub struct Narrowing {
    /// Such as `vdisessions.vdi.kasm.io v1alpha1 spec.user`.
    pub path: String,
    pub what: String,
    /// The rule or pattern that is new, if comparing schemas can't tell whether it refuses any object that was accepted.
    pub undecided: Option<String>,
}

impl Display for Narrowing {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

/// The narrowings found so far.
#[derive(Debug, Default)]
pub struct Narrowings(pub Vec<Narrowing>);

impl Narrowings {
    pub fn add(&mut self, path: &str, what: impl Into<String>) {
        self.0.push(Narrowing { path: path.to_owned(), what: what.into(), undecided: None });
    }

    pub fn add_undecided(&mut self, path: &str, what: &str, text: impl Into<String>) {
        let text = text.into();
        self.0.push(Narrowing { path: path.to_owned(), what: format!("{what}: {text}"), undecided: Some(text) });
    }
}

/// The elements of a list; none, if it isn't one.
pub fn values(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// The elements of a list that another one lacks.
pub fn missing<'a>(list: &'a Value, from: &'a Value) -> impl Iterator<Item = &'a Value> {
    values(list).filter(|value| !values(from).any(|other| other == *value))
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
