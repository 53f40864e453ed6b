use std::fmt::Display;

use serde_json::Value;
use vdi_api::{Gpus, Invalid, Memory, Timeout};

use super::{
    at::At,
    read::{Setting, scalars},
    shape::{Member, Shape},
};
use crate::field::refused;

/// What a site allows: from `min` to `max` inclusive, and what a session gets by default. All are optional.
#[derive(Clone, Debug, PartialEq)]
pub struct Range<T> {
    pub min: Option<T>,
    pub max: Option<T>,
    /// As written in the settings, because it is copied into the session.
    pub default: Option<Value>,
}

impl<T> Default for Range<T> {
    fn default() -> Self {
        Self { min: None, max: None, default: None }
    }
}

impl<T: Copy + Ord + Display> Range<T> {
    /// # Errors
    /// When `value` is outside.
    pub fn check(&self, value: T) -> Result<(), Invalid> {
        let inside = self.min.is_none_or(|min| min <= value) && self.max.is_none_or(|max| value <= max);
        if inside { Ok(()) } else { Err(Invalid::value(value, self.allowed())) }
    }

    fn allowed(&self) -> String {
        match (self.min, self.max) {
            (Some(min), Some(max)) if min == max => format!("exactly {min}"),
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (None, Some(max)) => format!("at most {max}"),
            (None, None) => "any".to_owned(),
        }
    }
}

impl<T: Setting + Copy + Ord + Display> Setting for Range<T> {
    const SHAPE: Shape = Shape::Section(&[
        Member { name: "min", about: "The minimum, inclusive.", shape: &T::SHAPE },
        Member { name: "max", about: "The maximum, inclusive.", shape: &T::SHAPE },
        Member {
            name: "default",
            about: "The value for a session that sets none, provided that the CRD's own default has been removed.",
            shape: &T::SHAPE,
        },
    ]);

    fn read(value: &Value, at: &At) -> Option<Self> {
        let Shape::Section(members) = Self::SHAPE else { return None };
        let object = at.section(value, members)?;
        let read = |name: &str| object.get(name).and_then(|value| T::read(value, &at.member(name)));
        let (min, max, default) = (read("min"), read("max"), read("default"));
        let refuse = |name: &str, allowed: &str| at.member(name).refuse(&refused(object.get(name), allowed));
        let range = Self { min, max, default: default.and_then(|_| object.get("default").cloned()) };
        match (min, max) {
            (Some(min), Some(max)) if min > max => {
                refuse("min", &format!("at most {max}, which is {}", at.member("max").path()));
            }
            _ => {
                if let Some(Err(outside)) = default.map(|default| range.check(default)) {
                    refuse("default", &outside.allowed);
                }
            }
        }
        Some(range)
    }
}

scalars! {
    Gpus: Shape::Whole(1, Gpus::ALLOWED),
    Memory: Shape::Text(Memory::ALLOWED),
    Timeout: Shape::Text(Timeout::ALLOWED),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_included_and_optional() {
        let range = |min, max| Range { min, max, default: None };
        let (one_to_four, at_most_four) = (range(Some(1), Some(4)), range(None, Some(4)));
        assert!(one_to_four.check(1).is_ok() && one_to_four.check(4).is_ok() && at_most_four.check(-9).is_ok());
        assert!(Range::default().check(i64::MAX).is_ok());
        assert_eq!(one_to_four.check(5).unwrap_err().to_string(), "found 5; allowed 1 to 4");
        assert_eq!(at_most_four.check(5).unwrap_err().to_string(), "found 5; allowed at most 4");
    }
}
