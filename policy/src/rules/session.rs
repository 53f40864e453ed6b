//! Rules for VDISessions: a field must parse as its type in vdi-api, and be in the range that the site allows.

use serde_json::Value;
use vdi_api::{Invalid, SessionName};

use super::rule::{Context, Field};
use crate::{
    field::{self, FromJson, refused},
    setting::Range,
    site::Ranges,
    values::address,
};

pub fn name(field: &Field, context: &Context) -> Result<(), Invalid> {
    match (field.value, context.object.get("metadata").and_then(|metadata| metadata.get("generateName"))) {
        // A name that is yet to be generated is absent or empty at admission.
        (None, Some(Value::String(prefix))) => SessionName::check_prefix(prefix),
        (Some(Value::String(name)), Some(Value::String(prefix))) if name.is_empty() => {
            SessionName::check_prefix(prefix)
        }
        (name, _) => field::parse(name, SessionName::ALLOWED, |name| name.parse::<SessionName>().ok()).map(drop),
    }
}

pub fn user_format(field: &Field, context: &Context) -> Result<(), Invalid> {
    let user = address::from_json(field.value)?;
    let domains = &context.site.users.allowed_domains;
    let domain = user.as_str().rsplit_once('@').map_or("", |(_, domain)| domain);
    if domains.is_empty() || domains.iter().any(|allowed| allowed.matches(domain)) {
        return Ok(());
    }
    let domains: Vec<_> = domains.iter().map(ToString::to_string).collect();
    Err(Invalid::text(user.as_str(), format!("an address at {}", domains.join(", "))))
}

pub fn gpu_range(field: &Field, context: &Context) -> Result<(), Invalid> {
    within(field, context, |ranges| ranges.gpu)
}

pub fn memory_range(field: &Field, context: &Context) -> Result<(), Invalid> {
    within(field, context, |ranges| ranges.memory)
}

pub fn timeout_range(field: &Field, context: &Context) -> Result<(), Invalid> {
    within(field, context, |ranges| ranges.timeout)
}

fn within<'a, T>(
    field: &Field,
    context: &'a Context,
    range: impl FnOnce(Ranges<'a>) -> Option<&'a Range<T>>,
) -> Result<(), Invalid>
where
    T: FromJson + Copy + Ord + std::fmt::Display + 'a,
{
    let value = T::from_json(field.value)?;
    let template = field::at(context.object, "spec.template").and_then(Value::as_str);
    match range(context.site.ranges(template, context.request.requester.as_ref())) {
        // Shows the value as the user wrote it, not as the type prints it.
        Some(range) => range.check(value).map_err(|outside| refused(field.value, &outside.allowed)),
        None => Ok(()),
    }
}
