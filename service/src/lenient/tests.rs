use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    api::{ObjectList, WatchEvent},
    core::NamespaceResourceScope,
};
use serde_json::json;

use super::*;

/// What a part of a pod is, in these tests.
#[derive(Clone, Debug, Deserialize)]
struct Part {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
enum Phase {
    Running,
}

crate::same_resource!(Part, k8s_openapi::api::core::v1::Pod);

fn object(name: &str, phase: &str) -> serde_json::Value {
    json!({
        "metadata": { "name": name, "namespace": "team", "uid": "1", "resourceVersion": "7" },
        "phase": phase,
        "status": { "conditions": [{ "type": "Ready" }] },
    })
}

fn read(value: &serde_json::Value) -> Lenient<Part> {
    serde_json::from_str(&value.to_string()).unwrap()
}

fn error_of(value: &serde_json::Value) -> String {
    match read(value) {
        Lenient::Parsed(part) => panic!("{part:?}"),
        Lenient::Unreadable(object) => object.error,
    }
}

#[test]
fn one_object_that_cannot_be_parsed_leaves_the_list_that_it_is_in_as_it_is() {
    let items = [object("a", "Running"), object("b", "Levitating"), object("c", "Running")];
    let list = json!({ "apiVersion": "v1", "kind": "PodList", "metadata": { "resourceVersion": "9" }, "items": items });
    let list: ObjectList<Lenient<Part>> = serde_json::from_str(&list.to_string()).unwrap();
    let names: Vec<_> = list.items.iter().map(|item| (item.meta().name.as_deref().unwrap(), is_parsed(item))).collect();
    assert_eq!(names, [("a", true), ("b", false), ("c", true)]);
}

fn is_parsed(object: &Lenient<Part>) -> bool {
    matches!(object, Lenient::Parsed(part) if part.phase == Phase::Running)
}

#[test]
fn of_an_object_that_cannot_be_parsed_a_watch_still_tells_which_it_is_and_in_which_version() {
    let event = json!({ "type": "MODIFIED", "object": object("b", "Levitating") }).to_string();
    // As the API server writes it.
    assert!(event.starts_with(r#"{"object":"#));
    let object = object("b", "Levitating");
    let event: WatchEvent<Lenient<Part>> =
        serde_json::from_str(&format!(r#"{{"type":"MODIFIED","object":{object}}}"#)).unwrap();
    let WatchEvent::Modified(Lenient::Unreadable(object)) = event else { panic!("{event:?}") };
    assert_eq!(
        (object.namespace(), object.name(), object.uid(), object.version()),
        ("team", "b", Some("1"), Some("7"))
    );
    assert_eq!(object.error, "unknown variant `Levitating`, expected `Running`");
    assert_eq!(object.conditions, [json!({ "type": "Ready" })]);
}

#[test]
fn of_an_object_that_cannot_be_parsed_the_url_is_known_if_it_is_one() {
    for (url, expected) in [(json!("https://a"), Some("https://a")), (json!(7), None), (json!(null), None)] {
        let mut object = object("b", "Levitating");
        object["status"]["url"] = url;
        let Lenient::Unreadable(object) = read(&object) else { panic!("it was parsed") };
        assert_eq!((object.url.as_deref(), object.conditions.len()), (expected, 1));
    }
}

/// What users may write there, and what jiff can't hold or serde_json won't follow.
#[test]
fn what_nobody_reads_can_be_anything() {
    let mut deep = json!({});
    (0..1000).for_each(|_| deep = json!({ "f:a": deep.take() }));
    let fields = json!([{ "manager": "m", "time": "9999-12-31T23:59:59Z", "fieldsV1": {} }]);
    for (field, value) in [("managedFields", fields), ("selfLink", json!(7)), ("generateName", json!([]))] {
        let mut object = object("a", "Running");
        object["metadata"][field] = value;
        assert!(is_parsed(&read(&object)), "{field}");
    }
    let depth = 1000;
    let deep = format!("{}{}", r#"{"f:a":"#.repeat(depth), "0") + &"}".repeat(depth);
    let text = format!(r#"{{"metadata":{{"name":"a","managedFields":[{{"fieldsV1":{deep}}}]}},"phase":"Running"}}"#);
    assert!(is_parsed(&serde_json::from_str(&text).unwrap()), "nested deeper than the parser goes");
    assert!(serde_json::from_str::<k8s_openapi::api::core::v1::Pod>(&text).is_err(), "or this shows nothing");
}

#[test]
fn what_is_read_and_cannot_be_held_sets_its_object_aside() {
    let last = "9999-12-31T23:59:59Z";
    assert!(serde_json::from_value::<Time>(json!(last)).is_err(), "or this shows nothing");
    for (field, value) in [
        ("creationTimestamp", json!(last)),
        ("deletionTimestamp", json!(last)),
        ("annotations", json!({ "a": 7 })),
        ("labels", json!([])),
        ("ownerReferences", json!({})),
        ("finalizers", json!("orphan")),
        ("generation", json!(1e30)),
    ] {
        let mut object = object("a", "Running");
        object["metadata"][field] = value;
        assert!(!is_parsed(&read(&object)), "{field}");
    }
    let mut conditions = object("a", "Levitating");
    conditions["status"]["conditions"] = json!("none");
    assert!(!is_parsed(&read(&conditions)), "spoilt twice");
}

#[test]
fn what_is_told_of_an_error_is_short_and_can_be_printed() {
    let error = error_of(&object("a", &"\u{1b}[2J\n".repeat(1000)));
    assert!(error.chars().count() <= 200 && !error.chars().any(char::is_control), "{error}");
}

#[test]
fn it_is_the_same_resource_as_what_it_reads() {
    fn is_namespaced<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>() -> String {
        K::url_path(&(), Some("team"))
    }
    assert_eq!(is_namespaced::<Lenient<Part>>(), "/api/v1/namespaces/team/pods");
}

/// Run by hand: `cargo test --release -p vdi-service -- --ignored --nocapture parsing`.
#[test]
#[ignore = "a measurement"]
fn parsing_leniently_costs_so_much_more() {
    let fields: Vec<_> =
        (0..40).map(|n| json!({ "manager": format!("m{n}"), "fieldsV1": { "f:status": {} } })).collect();
    let mut object = object("a", "Running");
    object["metadata"]["managedFields"] = json!(fields);
    object["spec"] = json!({ "containers": vec![json!({ "name": "c", "image": "i", "env": vec!["e"; 100] }); 4] });
    let items = vec![object; 10_000];
    let text = json!({ "metadata": {}, "items": items }).to_string();
    fn time<T: DeserializeOwned + Clone>(text: &str) -> std::time::Duration {
        let began = std::time::Instant::now();
        let list: ObjectList<T> = serde_json::from_str(text).unwrap();
        assert_eq!(list.items.len(), 10_000);
        began.elapsed()
    }
    for _ in 0..3 {
        let (plain, lenient) = (time::<Part>(&text), time::<Lenient<Part>>(&text));
        println!("{} bytes an object; plain {plain:?}, lenient {lenient:?}", text.len() / 10_000);
    }
}
