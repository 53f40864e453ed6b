use serde_json::Value;
use vdi_api::Invalid;

use super::{read::scalars, shape::Shape};
use crate::field::{FromJson, parse, refused};

/// A positive number of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u32);

impl Count {
    const ALLOWED: &str = "a whole number, at least 1";
}

impl FromJson for Count {
    fn from_json(value: Option<&Value>) -> Result<Self, Invalid> {
        let count = value.and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok());
        count.filter(|&count| count > 0).map(Self).ok_or_else(|| refused(value, Self::ALLOWED))
    }
}

impl FromJson for String {
    fn from_json(value: Option<&Value>) -> Result<Self, Invalid> {
        parse(value, "a string", |text| Some(text.to_owned()))
    }
}

scalars! {
    Count: Shape::Whole(1, Count::ALLOWED),
    String: Shape::Text("a string"),
}
