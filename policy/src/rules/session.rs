//! Rules that are a type of vdi-api, and a range of it.

use vdi_api::{Email, Invalid};

use super::Field;
use crate::{
    field::{FromJson, refused},
    range::Range,
    settings::Settings,
};

pub fn user_format(field: &Field, _: &Settings) -> Result<(), Invalid> {
    Email::from_json(field.value).map(drop)
}

pub fn gpu_range(field: &Field, settings: &Settings) -> Result<(), Invalid> {
    within(field, &settings.gpu)
}

pub fn memory_range(field: &Field, settings: &Settings) -> Result<(), Invalid> {
    within(field, &settings.memory)
}

pub fn timeout_range(field: &Field, settings: &Settings) -> Result<(), Invalid> {
    within(field, &settings.timeout)
}

fn within<T: FromJson + Copy + Ord + std::fmt::Display>(field: &Field, range: &Range<T>) -> Result<(), Invalid> {
    // The message shows the value as the user wrote it, not as the type prints it.
    range.check(T::from_json(field.value)?).map_err(|outside| refused(field.value, &outside.allowed))
}
