use std::cell::RefCell;

use serde_json::Value;
use vdi_api::Invalid;

use super::shape::Member;
use crate::{
    field::{problem, refused},
    request::Object,
};

/// Everything found while reading the settings, so that one answer lists it all.
#[derive(Default)]
pub struct Findings {
    pub problems: RefCell<Vec<String>>,
    /// What still works, but will be removed.
    pub deprecated: RefCell<Vec<String>>,
}

/// A position in the settings. Its path is built only for messages.
pub struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
    findings: &'a Findings,
}

enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    pub fn root(findings: &'a Findings) -> Self {
        Self { parent: None, step: Step::Name("settings"), findings }
    }

    pub fn member(&'a self, name: &'a str) -> At<'a> {
        At { parent: Some(self), step: Step::Name(name), findings: self.findings }
    }

    pub fn item(&'a self, index: usize) -> At<'a> {
        At { parent: Some(self), step: Step::Index(index), findings: self.findings }
    }

    /// `settings.gpu.max`
    pub fn path(&self) -> String {
        let parent = self.parent.map(Self::path);
        match (&self.step, parent) {
            (Step::Name(name), Some(parent)) => format!("{parent}.{}", printable(name)),
            (Step::Index(index), Some(parent)) => format!("{parent}[{index}]"),
            (Step::Name(name), None) => (*name).to_owned(),
            (Step::Index(index), None) => format!("[{index}]"),
        }
    }

    pub fn refuse(&self, invalid: &Invalid) {
        self.findings.problems.borrow_mut().push(problem(&self.path(), invalid));
    }

    pub fn deprecate(&self, instead: &str) {
        self.findings.deprecated.borrow_mut().push(format!("{}: deprecated; {instead}", self.path()));
    }

    /// The members of a section, when `value` is an object. Unknown names are refused.
    pub fn section<'v>(&self, value: &'v Value, members: &[Member]) -> Option<&'v Object> {
        let Some(object) = value.as_object() else {
            self.refuse(&refused(Some(value), "an object"));
            return None;
        };
        for name in object.keys().filter(|name| !members.iter().any(|member| member.name == name.as_str())) {
            let known: Vec<_> = members.iter().map(|member| member.name).collect();
            let nearest = nearest(name, &known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            let allowed = format!("{}{nearest}", known.join(", "));
            self.member(name).refuse(&Invalid::value("an unknown name", allowed));
        }
        Some(object)
    }
}

/// The known name that a misspelt one probably stands for.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    // A name may be a mebibyte long; one this long is no typo.
    let name = name.get(..64).unwrap_or(name).get(..name.len().min(64))?.to_ascii_lowercase();
    let distance = |known: &str| strsim::osa_distance(&name, &known.to_ascii_lowercase());
    let is_near = |known: &str| distance(known) <= known.len().min(name.len()) / 3 + 1 || name.starts_with(known);
    known.iter().copied().filter(|known| is_near(known)).min_by_key(|known| distance(known))
}

/// Names come from outside: they may be long, and contain control characters.
fn printable(name: &str) -> String {
    let plain = name.len() <= 40 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if plain { name.to_owned() } else { Invalid::text(name, "").found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_recognized() {
        let known = ["min", "max", "default", "allowedDomains", "usernamePrefix"];
        for (name, expected) in [
            ("mn", Some("min")),
            ("maximum", Some("max")),
            ("Default", Some("default")),
            ("alowedDomains", Some("allowedDomains")),
            ("userNamePrefix", Some("usernamePrefix")),
            ("colour", None),
            ("", None),
            (&"x".repeat(1 << 20), None),
            (&"é".repeat(100), None),
        ] {
            assert_eq!(nearest(name, &known), expected, "{name:.40}");
        }
    }
}
