use serde_json::{Map, Value};
use vdi_api::{Gpus, Memory, Timeout};

use crate::request::Object;

/// What a session gets that doesn't say.
///
/// With the project's CRD the API server fills in the CRD's defaults when it decodes a request, before any admission
/// webhook sees it; nothing then is absent here, and a default from the settings has no effect. These defaults count
/// where the CRD has none: a site that removes them from the CRD in favour of its own, and `kwctl` offline.
#[derive(Clone, Debug, PartialEq)]
pub struct Defaults {
    /// A JSON integer.
    pub gpu: Value,
    /// A quantity, as it was written.
    pub memory: Value,
    /// A duration, as it was written.
    pub timeout: Value,
}

impl Default for Defaults {
    /// The same as in the CRD.
    fn default() -> Self {
        Self { gpu: Gpus::DEFAULT.get().into(), memory: Memory::DEFAULT.into(), timeout: Timeout::DEFAULT.into() }
    }
}

impl Defaults {
    /// `object` with everything that it may leave out. What is there stays, whatever it is.
    ///
    /// What can't change is taken from `old`: an update that leaves a field out (`kubectl replace`) must not look like
    /// one that changes it when the default is another by now.
    pub fn complete(&self, object: &Object, old: Option<&Object>) -> Object {
        let mut object = object.clone();
        if let Some(spec) = member(&mut object, "spec") {
            spec.entry("timeout").or_insert_with(|| self.timeout.clone());
            if let Some(resources) = member(spec, "resources") {
                for (name, default) in [("gpu", &self.gpu), ("memory", &self.memory)] {
                    let before = old.and_then(|old| old.get("spec")?.get("resources")?.get(name));
                    resources.entry(name).or_insert_with(|| before.unwrap_or(default).clone());
                }
            }
        }
        object
    }
}

/// A member that is an object, made when it is absent. `None` when it is there and something else.
fn member<'a>(object: &'a mut Object, name: &str) -> Option<&'a mut Object> {
    object.entry(name).or_insert_with(|| Value::Object(Map::new())).as_object_mut()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn complete(object: Value, old: Option<Value>) -> Value {
        let old = old.map(|old| old.as_object().unwrap().clone());
        Defaults::default().complete(object.as_object().unwrap(), old.as_ref()).into()
    }

    #[test]
    fn only_what_is_absent_is_filled_in() {
        let object = json!({"spec": {"resources": {"gpu": null, "extra": 1}, "timeout": "", "extra": {}}});
        let completed = complete(object.clone(), None);
        assert_eq!(
            completed,
            json!({"spec": {"resources": {"gpu": null, "memory": "4Gi", "extra": 1}, "timeout": "", "extra": {}}})
        );
        assert_eq!(complete(completed.clone(), None), completed);
    }

    #[test]
    fn an_update_that_leaves_out_a_resource_keeps_it() {
        let old = json!({"spec": {"resources": {"gpu": 2, "memory": "16Gi"}, "timeout": "2h"}});
        let completed = complete(json!({"spec": {"resources": {"memory": "1Gi"}}}), Some(old));
        assert_eq!(completed, json!({"spec": {"resources": {"gpu": 2, "memory": "1Gi"}, "timeout": "8h"}}));
    }

    #[test]
    fn what_is_no_object_is_left_for_the_rules_to_refuse() {
        for object in [json!({"spec": []}), json!({"spec": null})] {
            assert_eq!(complete(object.clone(), None), object);
        }
    }
}
