//! What a session's desktop was started with, and keeps: a change of its template doesn't touch a running session.

use std::collections::BTreeMap;

use vdi_api::{
    Activity, Protocol, Timeout,
    desktop_pod::{ACTIVITY, IDLE_TIMEOUT, PATH, PORT, PROTOCOL},
};

/// Written on the pod, as annotations, and read back from there.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
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

const GENERATION: &str = "vdi.kasm.io/template-generation";
const RENDERER_PATH: &str = "vdi.kasm.io/renderer-path";
const MAX_TIMEOUT: &str = "vdi.kasm.io/max-timeout";
const START_DEADLINE: &str = "vdi.kasm.io/start-deadline";
const FAILED_RETENTION: &str = "vdi.kasm.io/failed-retention";
const LOG_IN_STATUS: &str = "vdi.kasm.io/log-in-status";

impl Terms {
    pub fn to_annotations(&self) -> BTreeMap<String, String> {
        [
            (GENERATION, Some(self.template_generation.to_string())),
            (PORT, Some(self.port.to_string())),
            (PROTOCOL, Some(self.protocol.name().to_owned())),
            (PATH, Some(self.path.clone())),
            (RENDERER_PATH, self.renderer_path.clone()),
            (IDLE_TIMEOUT, self.idle_timeout.map(|time| time.to_string())),
            (ACTIVITY, Some(self.activity.name().to_owned())),
            (MAX_TIMEOUT, self.max_timeout.map(|time| time.to_string())),
            (START_DEADLINE, Some(self.start_deadline.to_string())),
            (FAILED_RETENTION, Some(self.failed_retention.to_string())),
            (LOG_IN_STATUS, self.log_in_status.then(|| true.to_string())),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
    }

    /// `None` when they aren't there or somebody has spoilt them; then what the template says now has to do.
    pub fn from_annotations(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let text = |key| annotations.get(key).map(String::as_str);
        Some(Self {
            template_generation: text(GENERATION)?.parse().ok()?,
            port: text(PORT)?.parse().ok()?,
            protocol: Protocol::named(text(PROTOCOL)?)?,
            path: text(PATH)?.to_owned(),
            renderer_path: text(RENDERER_PATH).map(str::to_owned),
            idle_timeout: optional(text(IDLE_TIMEOUT))?,
            // Of a pod from before there was a choice.
            activity: text(ACTIVITY).map_or(Some(Activity::Auto), Activity::named)?,
            max_timeout: optional(text(MAX_TIMEOUT))?,
            start_deadline: text(START_DEADLINE)?.parse().ok()?,
            failed_retention: text(FAILED_RETENTION)?.parse().ok()?,
            log_in_status: text(LOG_IN_STATUS).is_some(),
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
        let few = fixture::template().terms;
        let all = Terms {
            protocol: Protocol::Https,
            renderer_path: Some("/renderer".to_owned()),
            idle_timeout: Some("30m".parse().unwrap()),
            activity: Activity::Selkies,
            max_timeout: Some("12h".parse().unwrap()),
            log_in_status: true,
            ..few.clone()
        };
        for terms in [few, all] {
            assert_eq!(Terms::from_annotations(&terms.to_annotations()), Some(terms));
        }
    }

    #[test]
    fn a_pod_from_before_there_was_a_choice_of_what_counts_as_input_keeps_its_terms() {
        let terms = fixture::template().terms;
        let mut annotations = terms.to_annotations();
        annotations.remove(ACTIVITY);
        assert_eq!(Terms::from_annotations(&annotations), Some(terms));
    }

    #[test]
    fn what_somebody_has_spoilt_is_not_half_believed() {
        for key in [PORT, PROTOCOL, ACTIVITY, MAX_TIMEOUT, START_DEADLINE] {
            let mut annotations = fixture::template().terms.to_annotations();
            annotations.insert(key.to_owned(), "soon".to_owned());
            assert_eq!(Terms::from_annotations(&annotations), None, "{key}");
        }
    }
}
