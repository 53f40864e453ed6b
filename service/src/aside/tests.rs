use kube::api::ObjectMeta;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::lenient::metadata;

#[derive(Clone, Debug, Deserialize)]
struct Part {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
}

crate::same_resource!(Part, k8s_openapi::api::core::v1::Pod);

fn object(name: &str, is_readable: bool) -> Lenient<Part> {
    let labels = if is_readable { json!({}) } else { json!(7) };
    serde_json::from_str(&json!({ "metadata": { "name": name, "namespace": "team", "labels": labels } }).to_string())
        .unwrap()
}

fn names(aside: &Aside) -> Vec<String> {
    aside.all::<Part>().iter().map(|object| object.name().to_owned()).collect()
}

fn key(name: &str) -> Key {
    ("team".to_owned(), name.to_owned())
}

#[test]
fn an_object_is_set_aside_from_the_version_that_cannot_be_read_to_the_next_that_can() {
    let aside = Aside::default();
    assert!(matches!(aside.sort(Event::Apply(object("a", true))), Some(Sorted::Event(Event::Apply(_)))));
    assert!(names(&aside).is_empty());
    assert!(matches!(aside.sort(Event::Apply(object("a", false))), Some(Sorted::Unknown(of)) if of == key("a")));
    assert!(aside.get::<Part>("team", "a").is_some() && aside.get::<Part>("other", "a").is_none());
    assert!(matches!(aside.sort(Event::Apply(object("a", true))), Some(Sorted::Event(Event::Apply(_)))));
    assert!(names(&aside).is_empty());
}

#[test]
fn an_object_that_is_gone_is_not_set_aside_any_more() {
    let aside = Aside::default();
    for is_readable in [true, false] {
        aside.sort(Event::Apply(object("a", false)));
        assert_eq!(names(&aside), ["a"]);
        assert!(aside.sort(Event::Delete(object("a", is_readable))).is_some());
        assert!(names(&aside).is_empty(), "{is_readable}");
    }
}

#[test]
fn what_went_or_was_mended_while_a_watch_was_interrupted_is_known_once_everything_has_been_read() {
    let aside = Aside::default();
    ["gone", "mended", "still"].into_iter().for_each(|name| drop(aside.sort(Event::Apply(object(name, false)))));
    aside.sort(Event::<Lenient<Part>>::Init);
    assert!(aside.sort(Event::InitApply(object("mended", true))).is_some());
    assert!(aside.sort(Event::InitApply(object("still", false))).is_none(), "it is left out");
    assert_eq!(names(&aside), ["gone", "mended", "still"], "until then");
    aside.sort(Event::<Lenient<Part>>::InitDone);
    assert_eq!(names(&aside), ["still"]);
}

#[test]
fn each_kind_has_its_count_from_the_start() {
    let aside = Arc::new(Aside::default());
    let page = || {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(SetAside(aside.clone())));
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        page
    };
    assert!(!page().contains("Pod"));
    aside.expect::<Part>();
    assert!(page().contains("objects_set_aside{kind=\"Pod\"} 0"), "{}", page());
    aside.sort(Event::Apply(object("a", false)));
    assert!(page().contains("objects_set_aside{kind=\"Pod\"} 1"), "{}", page());
}
