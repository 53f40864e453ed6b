use std::collections::BTreeMap;

use vdi_api::{Activity, Protocol, Timeout, desktop_pod as keys};

/// The part of a template that a running session keeps, whatever becomes of the template: written on the pod as annotations,
/// and read back from there.
#[derive(Clone, Debug, PartialEq)]
pub struct PinnedTemplate {
    /// Which version of the template this is: `metadata.generation`.
    pub template_generation: i64,
    pub port: i32,
    pub protocol: Protocol,
    pub path: String,
    pub renderer_path: Option<String>,
    pub idle_timeout: Option<Timeout>,
    pub activity: Activity,
    pub max_timeout: Option<Timeout>,
    pub start_deadline: Timeout,
    pub failed_retention: Timeout,
    pub log_in_status: bool,
}

impl PinnedTemplate {
    pub fn to_annotations(&self) -> BTreeMap<String, String> {
        [
            (keys::TEMPLATE_GENERATION, Some(self.template_generation.to_string())),
            (keys::PORT, Some(self.port.to_string())),
            (keys::PROTOCOL, Some(self.protocol.to_string())),
            (keys::PATH, Some(self.path.clone())),
            (keys::RENDERER_PATH, self.renderer_path.clone()),
            (keys::IDLE_TIMEOUT, self.idle_timeout.map(|time| time.to_string())),
            (keys::ACTIVITY, Some(self.activity.to_string())),
            (keys::MAX_TIMEOUT, self.max_timeout.map(|time| time.to_string())),
            (keys::START_DEADLINE, Some(self.start_deadline.to_string())),
            (keys::FAILED_RETENTION, Some(self.failed_retention.to_string())),
            (keys::LOG_IN_STATUS, self.log_in_status.then(|| true.to_string())),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
    }

    /// `None` when annotations are missing or have been tampered with; the current template has to do then. A word of a newer
    /// version, which was here before, leaves the limits as they are.
    pub fn from_annotations(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let text = |key| annotations.get(key).map(String::as_str);
        Some(Self {
            template_generation: text(keys::TEMPLATE_GENERATION)?.parse().ok()?,
            port: text(keys::PORT)?.parse().ok()?,
            protocol: text(keys::PROTOCOL)?.parse().unwrap_or_default(),
            path: text(keys::PATH)?.to_owned(),
            renderer_path: text(keys::RENDERER_PATH).map(str::to_owned),
            idle_timeout: optional(text(keys::IDLE_TIMEOUT))?,
            // Pods from before there was a choice have none.
            activity: text(keys::ACTIVITY).and_then(|word| word.parse().ok()).unwrap_or_default(),
            max_timeout: optional(text(keys::MAX_TIMEOUT))?,
            start_deadline: text(keys::START_DEADLINE)?.parse().ok()?,
            failed_retention: text(keys::FAILED_RETENTION)?.parse().ok()?,
            log_in_status: text(keys::LOG_IN_STATUS).is_some(),
        })
    }
}

fn optional(text: Option<&str>) -> Option<Option<Timeout>> {
    match text {
        None => Some(None),
        Some(text) => text.parse().ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn what_is_written_on_a_pod_is_read_back_the_same() {
        let few = fixture::template().pinned;
        let all = PinnedTemplate {
            protocol: Protocol::Https,
            renderer_path: Some("/renderer".to_owned()),
            idle_timeout: Some("30m".parse().unwrap()),
            activity: Activity::Selkies,
            max_timeout: Some("12h".parse().unwrap()),
            log_in_status: true,
            ..few.clone()
        };
        for pinned in [few, all] {
            assert_eq!(PinnedTemplate::from_annotations(&pinned.to_annotations()), Some(pinned));
        }
    }

    #[test]
    fn annotations_of_a_pod_from_before_activity_was_configurable_can_still_be_read() {
        let pinned = fixture::template().pinned;
        let mut annotations = pinned.to_annotations();
        annotations.remove(keys::ACTIVITY);
        assert_eq!(PinnedTemplate::from_annotations(&annotations), Some(pinned));
    }

    #[test]
    fn a_protocol_or_activity_of_a_newer_version_leaves_the_limits_of_the_session_as_they_are() {
        let pinned = PinnedTemplate {
            protocol: Protocol::Https,
            activity: Activity::Selkies,
            max_timeout: Some("12h".parse().unwrap()),
            ..fixture::template().pinned
        };
        let mut annotations = pinned.to_annotations();
        annotations.extend([keys::PROTOCOL, keys::ACTIVITY].map(|key| (key.to_owned(), "telepathy".to_owned())));
        let (protocol, activity) = (Protocol::default(), Activity::default());
        assert_eq!(
            PinnedTemplate::from_annotations(&annotations),
            Some(PinnedTemplate { protocol, activity, ..pinned })
        );
    }

    #[test]
    fn tampered_annotations_are_not_used_in_part() {
        for key in [keys::PORT, keys::IDLE_TIMEOUT, keys::MAX_TIMEOUT, keys::START_DEADLINE] {
            let mut annotations = fixture::template().pinned.to_annotations();
            annotations.insert(key.to_owned(), "soon".to_owned());
            assert_eq!(PinnedTemplate::from_annotations(&annotations), None, "{key}");
        }
    }
}
