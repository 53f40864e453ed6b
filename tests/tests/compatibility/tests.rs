//! The comparison of the CRDs, and that it finds each kind of narrowing.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    allowed::{ALLOWED, Allowed, objections},
    chart_values,
    crds::narrowings,
    releases::{last_crds, schema_of, todays_crds},
};

#[test]
fn the_crds_and_the_charts_values_are_in_nothing_narrower_than_the_last_releases() -> Result<()> {
    let mut found = narrowings(&last_crds()?, &todays_crds()?);
    found.append(&mut chart_values::narrowings()?);
    let objections = objections(&found, ALLOWED);
    ensure!(
        objections.is_empty(),
        "objects and values from the last release need what is gone. Put it back, or, for a rule or a pattern that refuses none of \
         them, add an entry to tests/tests/compatibility/allowed.rs:\n{}",
        objections.join("\n")
    );
    Ok(())
}

/// A change of a schema or of a whole CRD.
type Change = fn(&mut Value);

fn nothing(_: &mut Value) {}

/// The schema at a path such as `spec.env[].name`.
fn at<'a>(crd: &'a mut Value, path: &str) -> Result<&'a mut Value> {
    let mut schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    for name in path.replace("[]", ".[]").replace("{}", ".{}").split('.').filter(|name| !name.is_empty()) {
        let pointer = match name {
            "[]" => "/items".to_owned(),
            "{}" => "/additionalProperties".to_owned(),
            name => format!("/properties/{name}"),
        };
        schema = schema.pointer_mut(&pointer).with_context(|| format!("{path}: there is no {name}"))?;
    }
    Ok(schema)
}

fn remove(object: &mut Value, name: &str) {
    if let Some(object) = object.as_object_mut() {
        object.remove(name);
    }
}

/// What is found in templates with a change of the schema at a path, first in the last release's CRD, and then in today's.
fn found(path: &str, change: Change, then: Change) -> Result<Vec<String>> {
    let mut last = template()?;
    change(at(&mut last, path)?);
    let mut today = last.clone();
    then(at(&mut today, path)?);
    Ok(objections(&narrowings(&[last], &[today]), &[]))
}

fn template() -> Result<Value> {
    todays_crds()?.into_iter().find(|crd| crd["spec"]["names"]["kind"] == "VDITemplate").context("no VDITemplate")
}

const VERSION: &str = "vditemplates.vdi.kasm.io v1alpha1";

#[test]
fn each_narrowing_of_a_field_is_found() -> Result<()> {
    // Where, what the last release has in addition, what today's CRD has changed, and what is said about it.
    let cases: &[(&str, Change, Change, &str)] = &[
        ("spec.home", nothing, |it| remove(&mut it["properties"], "size"), "spec.home.size: the field is gone"),
        ("spec.home", nothing, |it| remove(it, "properties"), "spec.home.mountPath: the field is gone"),
        ("spec", nothing, |it| it["required"] = json!(["image", "port", "cpu"]), "spec: cpu is required now"),
        ("spec.cpu", nothing, |it| it["required"] = json!(["limit"]), "spec.cpu: limit is required now"),
        ("spec.port", nothing, |it| it["type"] = json!("string"), "the type was \"integer\" and is \"string\""),
        ("spec.port", nothing, |it| it["format"] = json!("int64"), "the format was \"int32\" and is \"int64\""),
        ("spec.image", nothing, |it| it["format"] = json!("uri"), "the format was null and is \"uri\""),
        ("spec.protocol", nothing, |it| it["enum"] = json!(["http", "h2c"]), "the value \"https\" is gone"),
        ("spec.imagePullPolicy", nothing, |it| it["enum"] = json!(["Always", "Never", "IfNotPresent"]), "null is gone"),
        ("spec.image", nothing, |it| it["enum"] = json!(["a"]), "only [\"a\"] are allowed"),
        ("spec.port", nothing, |it| it["minimum"] = json!(1024), "minimum was 1.0 and is 1024"),
        ("spec.port", nothing, |it| it["maximum"] = json!(1024), "maximum was 65535.0 and is 1024"),
        ("spec.port", |it| remove(it, "minimum"), |it| it["minimum"] = json!(-1), "minimum was null and is -1"),
        ("spec.port", |it| remove(it, "maximum"), |it| it["maximum"] = json!(7), "maximum was null and is 7"),
        ("spec.port", nothing, |it| it["exclusiveMaximum"] = json!(true), "exclusiveMaximum is new"),
        ("spec.port", nothing, |it| it["exclusiveMinimum"] = json!(true), "exclusiveMinimum is new"),
        ("spec.port", nothing, |it| it["multipleOf"] = json!(2), "only multiples of 2 are allowed"),
        ("spec.image", nothing, |it| it["maxLength"] = json!(9), "maxLength was 1024 and is 9"),
        ("spec.image", nothing, |it| it["minLength"] = json!(2), "minLength was 1 and is 2"),
        ("spec.env", nothing, |it| it["maxItems"] = json!(9), "maxItems was 256 and is 9"),
        ("spec.env", nothing, |it| it["minItems"] = json!(1), "minItems was null and is 1"),
        ("spec.podLabels", nothing, |it| it["maxProperties"] = json!(9), "maxProperties was null and is 9"),
        ("spec.podLabels", nothing, |it| it["minProperties"] = json!(1), "minProperties was null and is 1"),
        ("spec.env[].name", nothing, |it| it["maxLength"] = json!(9), "spec.env[].name: maxLength was 253 and is 9"),
        ("spec.podLabels{}", nothing, |it| it["maxLength"] = json!(9), "spec.podLabels{}: maxLength was null and is 9"),
        ("spec.podLabels", nothing, |it| remove(it, "additionalProperties"), "there can be no further fields any more"),
        ("spec.path", nothing, |it| it["pattern"] = json!("^/a"), "spec.path: a pattern is new: ^/a"),
        ("spec.image", nothing, |it| it["pattern"] = json!("^a"), "spec.image: a pattern is new: ^a"),
        (
            "spec.image",
            nothing,
            |it| it["x-kubernetes-validations"] = json!([{ "rule": "self != 'a'" }]),
            "spec.image: a rule is new: self != 'a'",
        ),
        (
            "spec.sharedMemory",
            nothing,
            |it| it["x-kubernetes-validations"][0]["rule"] = json!("self != 'a'"),
            "spec.sharedMemory: a rule is new: self != 'a'",
        ),
        (
            "spec.sharedMemory",
            |it| it["x-kubernetes-validations"][0]["optionalOldSelf"] = json!(true),
            |it| remove(&mut it["x-kubernetes-validations"][0], "optionalOldSelf"),
            "spec.sharedMemory: a rule is new",
        ),
        ("spec.path", nothing, |it| remove(it, "default"), "the default was \"/\" and is null"),
        ("spec.path", nothing, |it| it["default"] = json!("/a"), "the default was \"/\" and is \"/a\""),
        ("spec.runAsUser", nothing, |it| it["default"] = json!(0), "the default was null and is 0"),
        ("spec.home", nothing, |it| remove(it, "nullable"), "spec.home: nullable is gone"),
        ("spec.home", nothing, |it| it["nullable"] = json!(false), "spec.home: nullable is gone"),
        (
            "spec.home",
            |it| it["x-kubernetes-preserve-unknown-fields"] = json!(true),
            |it| remove(it, "x-kubernetes-preserve-unknown-fields"),
            "spec.home: x-kubernetes-preserve-unknown-fields is gone",
        ),
        (
            "spec.home",
            |it| it["x-kubernetes-preserve-unknown-fields"] = json!(true),
            |it| it["properties"]["free"] = json!({ "type": "string" }),
            "spec.home.free: could be anything and has a schema now",
        ),
        (
            "spec.podLabels",
            |it| it["additionalProperties"] = json!(true),
            |it| it["additionalProperties"] = json!({ "type": "string" }),
            "spec.podLabels{}: could be anything and has a schema now",
        ),
        (
            "spec.imagePullSecrets",
            |it| remove(it, "items"),
            |it| it["items"] = json!({ "type": "string" }),
            "spec.imagePullSecrets[]: could be anything and has a schema now",
        ),
        (
            "spec.port",
            |it| it["x-kubernetes-int-or-string"] = json!(true),
            |it| remove(it, "x-kubernetes-int-or-string"),
            "x-kubernetes-int-or-string is gone",
        ),
        (
            "spec.home",
            nothing,
            |it| it["x-kubernetes-embedded-resource"] = json!(true),
            "x-kubernetes-embedded-resource is new",
        ),
        ("spec.imagePullSecrets", nothing, |it| it["uniqueItems"] = json!(true), "uniqueItems is new"),
        (
            "spec.imagePullSecrets",
            nothing,
            |it| it["x-kubernetes-list-type"] = json!("set"),
            "x-kubernetes-list-type was null and is \"set\"",
        ),
        (
            "spec.env",
            nothing,
            |it| it["x-kubernetes-list-map-keys"] = json!(["name", "value"]),
            "x-kubernetes-list-map-keys was [\"name\"] and is",
        ),
        (
            "spec.home",
            nothing,
            |it| it["x-kubernetes-map-type"] = json!("atomic"),
            "x-kubernetes-map-type was null and is \"atomic\"",
        ),
        ("spec.home", nothing, |it| it["not"] = json!({ "required": ["size"] }), "a keyword has changed: not: {"),
        ("spec.home", nothing, |it| it["x-kubernetes-new"] = json!(1), "a keyword has changed: x-kubernetes-new: 1"),
        ("", nothing, |it| remove(&mut it["properties"], "status"), "v1alpha1 status: the field is gone"),
    ];
    for (path, last, today, expected) in cases {
        let found = found(path, *last, *today)?;
        let is_found = found.iter().any(|found| {
            let at = [format!("{VERSION} {path}"), format!("{VERSION}{path}")];
            found.contains(expected) && at.iter().any(|at| found.starts_with(at.as_str()))
        });
        ensure!(is_found, "{path}: {expected:?} was not found, but {found:#?}");
    }
    Ok(())
}

#[test]
fn each_narrowing_of_a_whole_crd_is_found() -> Result<()> {
    let cases: &[(Change, Change, &str)] = &[
        (nothing, |crd| crd["metadata"]["name"] = json!("others"), "vditemplates.vdi.kasm.io: the CRD is gone"),
        (nothing, |crd| crd["spec"]["scope"] = json!("Namespaced"), "/scope was"),
        (nothing, |crd| crd["spec"]["group"] = json!("vdi.example.com"), "/group was"),
        (nothing, |crd| crd["spec"]["names"]["kind"] = json!("Template"), "/names/kind was"),
        (nothing, |crd| crd["spec"]["names"]["listKind"] = json!("Templates"), "/names/listKind was"),
        (nothing, |crd| crd["spec"]["names"]["plural"] = json!("templates"), "/names/plural was"),
        (nothing, |crd| crd["spec"]["names"]["singular"] = json!("template"), "/names/singular was"),
        (nothing, |crd| crd["spec"]["names"]["shortNames"] = json!(["t"]), "\"vdit\" is gone from names.shortNames"),
        (
            |crd| crd["spec"]["names"]["categories"] = json!(["all"]),
            |crd| remove(&mut crd["spec"]["names"], "categories"),
            "\"all\" is gone from names.categories",
        ),
        (
            |crd| crd["spec"]["preserveUnknownFields"] = json!(true),
            |crd| crd["spec"]["preserveUnknownFields"] = json!(false),
            "unknown fields are no longer preserved",
        ),
        (
            nothing,
            |crd| crd["spec"]["versions"][0]["name"] = json!("v1"),
            "vditemplates.vdi.kasm.io v1alpha1: the version is gone",
        ),
        (
            nothing,
            |crd| crd["spec"]["versions"][0]["served"] = json!(false),
            "v1alpha1: the version is no longer served",
        ),
        (
            nothing,
            |crd| crd["spec"]["versions"][0]["storage"] = json!(false),
            "v1alpha1: stored objects need a migration to another version",
        ),
        (
            nothing,
            |crd| crd["spec"]["versions"][0]["subresources"] = json!({}),
            "v1alpha1: the subresource status is gone",
        ),
    ];
    for (last, today, expected) in cases {
        let (mut before, mut now) = (template()?, template()?);
        last(&mut before);
        last(&mut now);
        today(&mut now);
        let found = objections(&narrowings(&[before], &[now]), &[]);
        ensure!(found.iter().any(|found| found.contains(expected)), "{expected:?} was not found, but {found:#?}");
    }
    Ok(())
}

#[test]
fn each_field_that_goes_or_gets_another_type_is_found_at_its_path() -> Result<()> {
    let mut fields = 0;
    for crd in todays_crds()? {
        let name = crd["metadata"]["name"].as_str().context("no name")?;
        for path in paths(schema_of(&crd)?) {
            let (parent, field) = path.rsplit_once('.').unwrap_or(("", &path));
            if !field.ends_with(['}', ']']) {
                let mut today = crd.clone();
                remove(&mut at(&mut today, parent)?["properties"], field);
                let found = objections(&narrowings(std::slice::from_ref(&crd), &[today]), &[]);
                ensure!(found == [format!("{name} v1alpha1 {path}: the field is gone")], "{path}: {found:#?}");
            }
            let mut today = crd.clone();
            at(&mut today, &path)?["type"] = json!("null");
            let found = objections(&narrowings(std::slice::from_ref(&crd), &[today]), &[]);
            ensure!(
                found.len() == 1 && found[0].starts_with(&format!("{name} v1alpha1 {path}: the type was ")),
                "{path}: {found:#?}"
            );
            fields += 1;
        }
    }
    ensure!(fields > 100, "only {fields} fields were tried");
    Ok(())
}

/// The paths of all fields, elements and values that a schema describes.
fn paths(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut inner = |separator: &str, name: &str, schema: &Value| {
        found.push(name.to_owned());
        found.extend(paths(schema).into_iter().map(|path| match path.starts_with(['[', '{']) {
            true => format!("{name}{path}"),
            false => format!("{name}{separator}{path}"),
        }));
    };
    schema["properties"].as_object().into_iter().flatten().for_each(|(name, schema)| inner(".", name, schema));
    for (name, keyword) in [("[]", "items"), ("{}", "additionalProperties")] {
        if schema[keyword].is_object() {
            inner(".", name, &schema[keyword]);
        }
    }
    found
}

#[test]
fn what_a_crd_gets_in_addition_is_no_narrowing() -> Result<()> {
    let cases: &[(&str, Change)] = &[
        ("spec", |it| it["properties"]["new"] = json!({ "type": "string", "maxLength": 1, "default": "a" })),
        ("spec", |it| it["required"] = json!(["image"])),
        ("spec.protocol", |it| it["enum"] = json!(["h2c", "https", "http"])),
        ("spec.protocol", |it| remove(it, "enum")),
        ("spec.port", |it| it["maximum"] = json!(65536)),
        ("spec.port", |it| it["minimum"] = json!(0)),
        ("spec.port", |it| remove(it, "format")),
        ("spec.image", |it| it["maxLength"] = json!(2048)),
        ("spec.image", |it| remove(it, "minLength")),
        ("spec.image", |it| it["nullable"] = json!(true)),
        ("spec.image", |it| it["description"] = json!("Another.")),
        ("spec.env", |it| remove(it, "maxItems")),
        ("spec.env", |it| it["minItems"] = json!(0)),
        ("spec.path", |it| remove(it, "pattern")),
        ("spec.sharedMemory", |it| remove(it, "x-kubernetes-validations")),
        ("spec.sharedMemory", |it| it["x-kubernetes-validations"][0]["message"] = json!("is wrong")),
        ("spec.home", |it| it["x-kubernetes-preserve-unknown-fields"] = json!(true)),
        ("spec.home", |it| {
            *it = json!({ "type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true })
        }),
        ("spec.podLabels", |it| it["additionalProperties"] = json!(true)),
        ("spec.port", |it| it["exclusiveMinimum"] = json!(false)),
    ];
    for (path, today) in cases {
        let found = found(path, nothing, *today)?;
        ensure!(found.is_empty(), "{path}: {found:#?}");
    }
    let mut today = template()?;
    let mut version = today["spec"]["versions"][0].clone();
    (version["name"], version["storage"]) = (json!("v1"), json!(false));
    today["spec"]["versions"][0]["subresources"]["scale"] = json!({});
    today["spec"]["versions"].as_array_mut().context("no versions")?.push(version);
    today["spec"]["names"]["shortNames"] = json!(["t", "vdit"]);
    let found = objections(&narrowings(&[template()?], &[today]), &[]);
    ensure!(found.is_empty(), "{found:#?}");
    Ok(())
}

#[test]
fn a_rule_is_allowed_by_its_path_and_text_with_a_reason_and_only_while_it_is_new() -> Result<()> {
    let (last, mut today) = (template()?, template()?);
    at(&mut today, "spec.image")?["x-kubernetes-validations"] = json!([{ "rule": "self != 'a'" }]);
    at(&mut today, "spec.path")?["pattern"] = json!("^/a");
    at(&mut today, "spec.port")?["maximum"] = json!(7);
    let found = narrowings(&[last], &[today]);
    let with = |path, text, why| objections(&found, &[Allowed { path, text, why }]);
    let image = "vditemplates.vdi.kasm.io v1alpha1 spec.image";
    let port = "vditemplates.vdi.kasm.io v1alpha1 spec.port";

    assert_eq!(objections(&found, &[]).len(), 3);
    let left = with(image, "self != 'a'", "no image is called that");
    assert!(left.len() == 2 && !left.iter().any(|left| left.contains("spec.image")), "{left:?}");
    assert_eq!(with(image, "self != 'a'", "").len(), 3, "it has no reason");
    assert_eq!(with(image, "self != 'b'", "").len(), 5, "it is another rule");
    assert_eq!(with(port, "maximum was 65535.0 and is 7", "it is rare").len(), 4, "what is certain can't be allowed");
    Ok(())
}
