//! What a setting looks like, as data, and how it is read. The settings' JSON schema, Rancher's form and the table in
//! docs/policy.md are made from the same data.

use std::cell::RefCell;

use serde_json::Value;
use vdi_api::Invalid;

use crate::{
    field::{problem, refused},
    request::Object,
};

/// What may stand in a place.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// An object with these members and no others, all optional.
    Section(&'static [Member]),
    /// A list of any length.
    List(&'static Shape),
    /// A string; in words, which.
    Text(&'static str),
    /// A whole number of at least this; in words, which.
    Whole(u32, &'static str),
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
}

/// A member of a section.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub name: &'static str,
    /// What it does, in a sentence or two.
    pub about: &'static str,
    pub shape: &'static Shape,
}

/// A type that settings are made of.
pub trait Setting: Sized {
    const SHAPE: Shape;

    /// Notes everything that is wrong with `value`. `None` when it can't be read at all.
    fn read(value: &Value, at: &At) -> Option<Self>;
}

impl<T: Setting> Setting for Option<T> {
    const SHAPE: Shape = T::SHAPE;

    fn read(value: &Value, at: &At) -> Option<Self> {
        T::read(value, at).map(Some)
    }
}

impl<T: Setting> Setting for Vec<T> {
    const SHAPE: Shape = Shape::List(&T::SHAPE);

    fn read(value: &Value, at: &At) -> Option<Self> {
        let Some(items) = value.as_array() else {
            at.refuse(&refused(Some(value), "a list"));
            return None;
        };
        Some(items.iter().enumerate().filter_map(|(index, item)| T::read(item, &at.item(index))).collect())
    }
}

impl Setting for bool {
    const SHAPE: Shape = Shape::Flag;

    fn read(value: &Value, at: &At) -> Option<Self> {
        let flag = value.as_bool();
        if flag.is_none() {
            at.refuse(&refused(Some(value), "true or false"));
        }
        flag
    }
}

/// Everything that is to be said about the settings, so that one answer lists it all.
#[derive(Default)]
pub struct Findings {
    pub problems: RefCell<Vec<String>>,
    /// What still works, and won't for ever.
    pub deprecated: RefCell<Vec<String>>,
}

/// A place in the settings. It is spelled out only when there is something to say about it.
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

    /// The members of a section, when `value` is one. Names that it doesn't have are refused.
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

/// The known name that was probably meant.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    // A name may be a mebibyte long; what is as long as this is no slip of a finger.
    let name = name.get(..64).unwrap_or(name).get(..name.len().min(64))?.to_ascii_lowercase();
    let distance = |known: &str| strsim::osa_distance(&name, &known.to_ascii_lowercase());
    let is_near = |known: &str| distance(known) <= known.len().min(name.len()) / 3 + 1 || name.starts_with(known);
    known.iter().copied().filter(|known| is_near(known)).min_by_key(|known| distance(known))
}

/// A name is text like any other: it may be long, and hold what a terminal would act on.
fn printable(name: &str) -> String {
    let plain = name.len() <= 40 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if plain { name.to_owned() } else { Invalid::text(name, "").found }
}

/// Declares a struct whose fields are the members of a section, in the order in which they are documented.
///
/// What is absent has its type's default. After the fields may come a function that is told the section that was read, as
/// it was written, and where, to say what contradicts what.
macro_rules! section {
    (
        $(#[$attribute:meta])*
        pub struct $Name:ident { $( #[doc = $about:literal] $(#[doc = $more:literal])* pub $field:ident = $name:literal: $Type:ty, )* }
        $( check $check:expr )?
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $Name { $( #[doc = $about] $(#[doc = $more])* pub $field: $Type, )* }

        impl $crate::settings::setting::Setting for $Name {
            const SHAPE: $crate::settings::setting::Shape = $crate::settings::setting::Shape::Section(&[
                $( $crate::settings::setting::Member {
                    name: $name,
                    about: concat!($about $(, $more)*),
                    shape: &<$Type as $crate::settings::setting::Setting>::SHAPE,
                }, )*
            ]);

            fn read(value: &serde_json::Value, at: &$crate::settings::setting::At) -> Option<Self> {
                use $crate::settings::setting::Shape;
                let Shape::Section(members) = Self::SHAPE else { return None };
                let object = at.section(value, members)?;
                let section = Self {
                    $( $field: object.get($name).and_then(|value| <$Type>::read(value, &at.member($name))).unwrap_or_default(), )*
                };
                $( $check(&section, object, at); )?
                Some(section)
            }
        }
    };
}
pub(crate) use section;

/// Makes scalars of a request (`8h`, `4Gi`, `1`) settings too: they are written in the same way.
macro_rules! scalars {
    ($( $Type:ty: $shape:expr, )*) => {
        $(
            impl $crate::settings::setting::Setting for $Type {
                const SHAPE: $crate::settings::setting::Shape = $shape;

                fn read(value: &serde_json::Value, at: &$crate::settings::setting::At) -> Option<Self> {
                    <$Type as $crate::field::FromJson>::from_json(Some(value)).map_err(|invalid| at.refuse(&invalid)).ok()
                }
            }
        )*
    };
}
pub(crate) use scalars;

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
