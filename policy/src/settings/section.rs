use std::{cell::RefCell, fmt::Display};

use serde_json::Value;
use vdi_api::Invalid;

use crate::{
    field::{FromJson, problem, refused},
    range::Range,
    request::Object,
    rules::{Mode, RULES, template},
};

/// Shared by all sections, so that one answer lists everything that is wrong.
pub type Problems = RefCell<Vec<String>>;

/// One object in the settings. Reading it notes what is wrong in it and goes on.
pub struct Section<'a> {
    path: String,
    /// `None` when it is absent, or no object.
    members: Option<&'a Object>,
    problems: &'a Problems,
}

impl<'a> Section<'a> {
    pub fn root(value: Option<&'a Value>, known: &[&str], problems: &'a Problems) -> Self {
        let root = Self { path: "settings".to_owned(), members: value.and_then(Value::as_object), problems };
        if root.members.is_none() {
            problems.borrow_mut().push(problem(&root.path, &refused(value, "an object")));
        }
        root.refuse_unknown(known);
        root
    }

    pub fn section(&self, name: &str, known: &[&str]) -> Self {
        let value = self.value(name);
        let section =
            Self { path: self.path_of(name), members: value.and_then(Value::as_object), problems: self.problems };
        if value.is_some() && section.members.is_none() {
            self.refuse(name, &refused(value, "an object"));
        }
        section.refuse_unknown(known);
        section
    }

    /// The section `name` with its `min` and `max`.
    pub fn range<T: FromJson + Copy + Ord + Display>(&self, name: &str) -> Range<T> {
        let section = self.section(name, &["min", "max"]);
        let range = Range { min: section.get("min"), max: section.get("max") };
        if let (Some(min), Some(max)) = (range.min, range.max)
            && min > max
        {
            let allowed = format!("at most {max}, which is {}", section.path_of("max"));
            section.refuse("min", &refused(section.value("min"), &allowed));
        }
        range
    }

    /// A value as it was written, when it is one that `range` allows.
    pub fn within<T: FromJson + Copy + Ord + Display>(&self, name: &str, range: &Range<T>) -> Option<Value> {
        let outside = range.check(self.get(name)?).err();
        if let Some(outside) = outside {
            self.refuse(name, &refused(self.value(name), &outside.allowed));
        }
        self.value(name).cloned()
    }

    pub fn template_names(&self, name: &str) -> Vec<String> {
        let items = match self.value(name) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            other => {
                self.refuse(name, &refused(other, "a list of VDITemplates' names"));
                return Vec::new();
            }
        };
        let mut names = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item.as_str().filter(|name| template::is_object_name(name)) {
                Some(name) => names.push(name.to_owned()),
                None => self.refuse(&format!("{name}[{index}]"), &refused(Some(item), template::ALLOWED)),
            }
        }
        names
    }

    /// The section `name`, which maps the ids of rules to modes.
    pub fn modes(&self, name: &str) -> Vec<(&'static str, Mode)> {
        let ids: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
        let section = self.section(name, &ids);
        let mut modes = Vec::new();
        for id in ids {
            match section.value(id).map(|mode| (mode, mode.as_str())) {
                None => {}
                Some((_, Some("enforce"))) => modes.push((id, Mode::Enforce)),
                Some((_, Some("warn"))) => modes.push((id, Mode::Warn)),
                Some((_, Some("off"))) => modes.push((id, Mode::Off)),
                // A bare `off` is `false` to YAML 1.1, which is what the Kubernetes tools read.
                Some((Value::Bool(false), _)) => modes.push((id, Mode::Off)),
                Some((other, _)) => section.refuse(id, &refused(Some(other), "enforce, warn or off")),
            }
        }
        modes
    }

    fn get<T: FromJson>(&self, name: &str) -> Option<T> {
        let value = self.value(name)?;
        T::from_json(Some(value)).map_err(|invalid| self.refuse(name, &invalid)).ok()
    }

    fn value(&self, name: &str) -> Option<&'a Value> {
        self.members?.get(name)
    }

    fn path_of(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    fn refuse_unknown(&self, known: &[&str]) {
        let names = self.members.into_iter().flat_map(|members| members.keys());
        for name in names.filter(|name| !known.contains(&name.as_str())) {
            self.refuse(&printable(name), &Invalid::value("an unknown name", known.join(", ")));
        }
    }

    fn refuse(&self, name: &str, invalid: &Invalid) {
        self.problems.borrow_mut().push(problem(&self.path_of(name), invalid));
    }
}

/// A key is text like any other: it may be long, and hold what a terminal would act on.
fn printable(name: &str) -> String {
    let quoted = Invalid::text(name, "").found;
    let plain = name.len() <= 40 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if plain { name.to_owned() } else { quoted }
}
