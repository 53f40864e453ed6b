//! In what a CRD is narrower than an earlier one.

use serde_json::Value;

use crate::{
    narrowing::{Narrowing, Narrowings, missing, text, values},
    schema,
};

/// In what today's CRDs are narrower than the last release's.
pub fn narrowings(last: &[Value], today: &[Value]) -> Vec<Narrowing> {
    let mut found = Narrowings::default();
    for crd in last {
        let name = text(&crd["metadata"]["name"]);
        match today.iter().find(|today| today["metadata"]["name"] == crd["metadata"]["name"]) {
            Some(today) => compare_crds(name, &crd["spec"], &today["spec"], &mut found),
            None => found.add(name, "the CRD is gone"),
        }
    }
    found.0
}

fn compare_crds(name: &str, last: &Value, today: &Value, found: &mut Narrowings) {
    for pointer in ["/group", "/scope", "/names/kind", "/names/listKind", "/names/plural", "/names/singular"] {
        let (before, now) = (last.pointer(pointer), today.pointer(pointer));
        if before != now {
            found.add(name, format!("{pointer} was {before:?} and is {now:?}"));
        }
    }
    for list in ["shortNames", "categories"] {
        for gone in missing(&last["names"][list], &today["names"][list]) {
            found.add(name, format!("{gone} is gone from names.{list}"));
        }
    }
    if last["preserveUnknownFields"] == true && today["preserveUnknownFields"] != true {
        found.add(name, "unknown fields are no longer preserved");
    }
    for version in values(&last["versions"]) {
        let path = format!("{name} {}", text(&version["name"]));
        match values(&today["versions"]).find(|today| today["name"] == version["name"]) {
            Some(today) => compare_versions(&path, version, today, found),
            None => found.add(&path, "the version is gone"),
        }
    }
}

fn compare_versions(path: &str, last: &Value, today: &Value, found: &mut Narrowings) {
    if last["served"] == true && today["served"] != true {
        found.add(path, "the version is no longer served");
    }
    if last["storage"] == true && today["storage"] != true {
        found.add_undecided(path, "stored objects need a migration to another version", "storage");
    }
    let subresources = |version: &Value| version["subresources"].as_object().cloned().unwrap_or_default();
    let todays = subresources(today);
    for gone in subresources(last).keys().filter(|name| !todays.contains_key(*name)) {
        found.add(path, format!("the subresource {gone} is gone"));
    }
    let schema_of = |version: &Value| version["schema"]["openAPIV3Schema"].clone();
    schema::compare(path, &schema_of(last), &schema_of(today), found);
}
