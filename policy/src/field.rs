//! Reading a field of a JSON object, which may be absent or have the wrong type.

use serde_json::{Map, Value};
use vdi_api::{Gpus, Invalid, Memory, Timeout};

/// The value at a dotted path such as `spec.resources.gpu`. `None` also if a parent is missing or not an object.
pub fn at<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        Some((head, rest)) => at(object.get(head)?.as_object()?, rest),
        None => object.get(path),
    }
}

/// Formats `spec.user: found 7; allowed ...`.
pub fn problem(path: &str, invalid: &Invalid) -> String {
    format!("{path}: {invalid}")
}

/// Refuses a value that is absent or has the wrong type, with the same wording for requests and settings.
pub fn refused(value: Option<&Value>, allowed: &str) -> Invalid {
    match value {
        None => Invalid::value("nothing", allowed),
        Some(Value::String(text)) => Invalid::text(text, allowed),
        Some(Value::Array(_)) => Invalid::value("a list", allowed),
        Some(Value::Object(_)) => Invalid::value("an object", allowed),
        Some(scalar) => Invalid::value(scalar, allowed),
    }
}

/// A value with the same syntax in requests and settings.
pub trait FromJson: Sized {
    fn from_json(value: Option<&Value>) -> Result<Self, Invalid>;
}

impl FromJson for Memory {
    fn from_json(value: Option<&Value>) -> Result<Self, Invalid> {
        parse(value, Self::ALLOWED, |text| text.parse().ok())
    }
}

impl FromJson for Timeout {
    fn from_json(value: Option<&Value>) -> Result<Self, Invalid> {
        parse(value, Self::ALLOWED, |text| text.parse().ok())
    }
}

impl FromJson for Gpus {
    fn from_json(value: Option<&Value>) -> Result<Self, Invalid> {
        // `1.0` is refused too: most readers of the stored object take it for a float.
        let count = value.and_then(Value::as_i64).ok_or_else(|| refused(value, Self::ALLOWED))?;
        Self::try_from(count)
    }
}

/// Parses a string with `read`.
pub fn parse<T>(value: Option<&Value>, allowed: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, Invalid> {
    value.and_then(Value::as_str).and_then(read).ok_or_else(|| refused(value, allowed))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_names_what_was_found_whatever_its_type() {
        for (value, found) in [
            (json!("x"), "\"x\""),
            (json!(7), "7"),
            (json!(1.5), "1.5"),
            (json!(null), "null"),
            (json!(true), "true"),
            (json!([1]), "a list"),
            (json!({"a": 1}), "an object"),
        ] {
            assert_eq!(refused(Some(&value), "").found, found);
        }
        assert_eq!(refused(None, "").found, "nothing");
    }

    #[test]
    fn a_path_through_something_that_is_no_object_finds_nothing() {
        let object = json!({"spec": {"resources": [1]}});
        assert_eq!(at(object.as_object().unwrap(), "spec.resources.gpu"), None);
        assert_eq!(at(object.as_object().unwrap(), "spec.resources"), Some(&json!([1])));
    }

    #[test]
    fn a_number_of_gpus_is_a_json_integer() {
        assert_eq!(Gpus::from_json(Some(&json!(1))), Ok(Gpus::DEFAULT));
        for value in [json!(1.0), json!("1"), json!(u64::MAX), json!(1e300), json!(0), json!(null)] {
            assert!(Gpus::from_json(Some(&value)).is_err(), "{value}");
        }
    }
}
