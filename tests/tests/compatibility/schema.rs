//! In what an object's schema is narrower than an earlier one.
//!
//! Keywords are those of [JSONSchemaProps]. One that this doesn't know counts as undecided, so a new one can't be forgotten.
//!
//! [JSONSchemaProps]: https://kubernetes.io/docs/reference/kubernetes-api/extend-resources/custom-resource-definition-v1/#JSONSchemaProps

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::narrowing::{Narrowings, missing, text, values};

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

/// Adds what `today` no longer accepts, or keeps otherwise. `path` is that of the values that both describe.
pub fn compare(path: &str, last: &Value, today: &Value, found: &mut Narrowings) {
    let keywords = |schema: &Value| schema.as_object().map(|schema| schema.keys().cloned().collect::<BTreeSet<_>>());
    let all: BTreeSet<String> = [last, today].into_iter().filter_map(keywords).flatten().collect();
    for keyword in all {
        let (before, now) = (&last[&keyword], &today[&keyword]);
        match &*keyword {
            _ if before == now => {}
            // For people.
            "description" | "title" | "example" | "externalDocs" => {}
            "properties" => properties(path, last, today, found),
            "additionalProperties" => additional_properties(path, last, today, found),
            "items" => items(path, before, now, found),
            "type" if !now.is_null() => found.add(path, format!("the type was {before} and is {now}")),
            "format" if !now.is_null() => found.add(path, format!("the format was {before} and is {now}")),
            "multipleOf" if !now.is_null() => found.add(path, format!("only multiples of {now} are allowed")),
            "type" | "format" | "multipleOf" | "pattern" if now.is_null() => {}
            "nullable" | "x-kubernetes-int-or-string" | PRESERVE if now != true => {
                found.add(path, format!("{keyword} is gone"));
            }
            "nullable" | "x-kubernetes-int-or-string" | PRESERVE => {}
            "exclusiveMinimum" | "exclusiveMaximum" | "uniqueItems" | "x-kubernetes-embedded-resource" => {
                if now == true {
                    found.add(path, format!("{keyword} is new"));
                }
            }
            "maximum" | "maxLength" | "maxItems" | "maxProperties" => {
                if now.as_f64().is_some_and(|now| now < before.as_f64().unwrap_or(f64::INFINITY)) {
                    found.add(path, format!("{keyword} was {before} and is {now}"));
                }
            }
            "minimum" | "minLength" | "minItems" | "minProperties" => {
                let least = if keyword == "minimum" { f64::NEG_INFINITY } else { 0.0 };
                if now.as_f64().is_some_and(|now| now > before.as_f64().unwrap_or(least)) {
                    found.add(path, format!("{keyword} was {before} and is {now}"));
                }
            }
            "required" => {
                missing(now, before).for_each(|field| found.add(path, format!("{} is required now", text(field))))
            }
            "enum" if before.is_null() => found.add(path, format!("only {now} are allowed")),
            "enum" if now.is_null() => {}
            "enum" => missing(before, now).for_each(|value| found.add(path, format!("the value {value} is gone"))),
            // Objects without the field get it, and mean something else than before.
            "default" => found.add(path, format!("the default was {before} and is {now}")),
            "x-kubernetes-list-type" | "x-kubernetes-list-map-keys" | "x-kubernetes-map-type" => {
                found.add(path, format!("{keyword} was {before} and is {now}"));
            }
            "pattern" => found.add_undecided(path, "a pattern is new", text(now)),
            "x-kubernetes-validations" => rules(path, before, now, found),
            _ => found.add_undecided(path, "a keyword has changed", format!("{keyword}: {now}")),
        }
    }
}

fn properties(path: &str, last: &Value, today: &Value, found: &mut Narrowings) {
    let none = Map::new();
    let of = |schema: &Value| schema["properties"].as_object().unwrap_or(&none).clone();
    let (before, now) = (of(last), of(today));
    for (name, property) in &before {
        let path = below(path, name);
        match now.get(name) {
            Some(now) => compare(&path, property, now, found),
            None if today[PRESERVE] == true => {}
            None => found.add(&path, "the field is gone"),
        }
    }
    if last[PRESERVE] == true {
        let new = now.keys().filter(|name| !before.contains_key(*name));
        new.for_each(|name| found.add(&below(path, name), "could be anything and has a schema now"));
    }
}

/// The path of a field.
pub fn below(path: &str, name: &str) -> String {
    // Fields of the object itself follow the version.
    let separator = if path.matches(' ').count() == 1 { ' ' } else { '.' };
    format!("{path}{separator}{name}")
}

fn additional_properties(path: &str, last: &Value, today: &Value, found: &mut Narrowings) {
    let inner = format!("{path}{{}}");
    match (&last["additionalProperties"], &today["additionalProperties"]) {
        (before @ Value::Object(_), now @ Value::Object(_)) => compare(&inner, before, now, found),
        (Value::Null | Value::Bool(false), _) if last[PRESERVE] != true => {}
        (_, Value::Object(_)) => found.add(&inner, "could be anything and has a schema now"),
        (Value::Bool(true) | Value::Object(_), Value::Null | Value::Bool(false)) if today[PRESERVE] != true => {
            found.add(&inner, "there can be no further fields any more");
        }
        _ => {}
    }
}

fn items(path: &str, before: &Value, now: &Value, found: &mut Narrowings) {
    let inner = format!("{path}[]");
    match (before, now) {
        (_, Value::Null) => {}
        (Value::Null, _) => found.add(&inner, "could be anything and has a schema now"),
        _ => compare(&inner, before, now, found),
    }
}

fn rules(path: &str, before: &Value, now: &Value, found: &mut Narrowings) {
    // What a rule says to people doesn't matter.
    let rule = |validation: &Value| (validation["rule"].clone(), validation["optionalOldSelf"].clone());
    for validation in values(now) {
        if !values(before).any(|before| rule(before) == rule(validation)) {
            found.add_undecided(path, "a rule is new", text(&validation["rule"]));
        }
    }
}
