//! The condition `Accelerated`: whether a desktop really renders on a GPU.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use vdi_api::VDISessionStatus;

use super::action::Notice;
use crate::model::{Observed, Renderer};

pub const CONDITION: &str = "Accelerated";
pub const SOFTWARE: &str = "SoftwareRendering";
/// A desktop that has just come up may not know its renderer yet.
pub const ASK_AGAIN: Duration = Duration::from_secs(10);
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Whether the renderer is known. It stays known until the session gets another pod.
pub fn is_known(status: &VDISessionStatus) -> bool {
    published(status).is_some_and(|condition| condition.status != "Unknown")
}

/// Whether the desktop of the current pod was up before: only then is there a condition, known or not.
pub fn was_looked_at(status: &VDISessionStatus) -> bool {
    published(status).is_some()
}

fn published(status: &VDISessionStatus) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.type_ == CONDITION)
}

/// The condition, for a desktop that is up.
pub fn condition(seen: &Observed, now: Timestamp) -> Condition {
    let known = published(&seen.status);
    if let Some(known) = known.filter(|_| is_known(&seen.status)) {
        return known.clone();
    }
    let (status, reason, message) = match &seen.renderer {
        Renderer::NotPublished => {
            ("Unknown", "RendererNotPublished", "the image does not publish its renderer".to_owned())
        }
        Renderer::Unreadable => {
            ("Unknown", "RendererUnreadable", "the desktop does not report its renderer".to_owned())
        }
        Renderer::Named(name) if seen.renderer.is_software() => {
            ("False", SOFTWARE, format!("renders in software, with {name}"))
        }
        Renderer::Named(name) => ("True", "Renderer", format!("renders with {name}")),
    };
    let same = known.filter(|known| known.status == status);
    Condition {
        type_: CONDITION.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: same.map_or(Time(now), |known| known.last_transition_time.clone()),
        observed_generation: same.map_or(seen.generation, |known| known.observed_generation),
    }
}

pub fn notice(condition: &Condition, start: &Timestamp) -> Notice {
    let message = format!("the session has GPUs but {}", condition.message);
    Notice { reason: SOFTWARE, message, key: start.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, noon};

    fn verdict(renderer: &str) -> (String, String) {
        let seen = Observed { renderer: Renderer::parse(renderer), ..fixture::observed() };
        let condition = condition(&seen, noon());
        (condition.status, condition.message)
    }

    #[test]
    fn software_renderers_are_recognized_by_name() {
        assert_eq!(verdict("NVIDIA H100 80GB HBM3/PCIe/SSE2\n").0, "True");
        assert_eq!(
            verdict("AMD Radeon RX 7900 XTX (radeonsi, navi31, LLVM 15.0.7)").0,
            "True",
            "LLVM alone is no proof"
        );
        let (status, message) = verdict("llvmpipe (LLVM 15.0.6, 256 bits)");
        assert_eq!(
            (status.as_str(), message.as_str()),
            ("False", "renders in software, with llvmpipe (LLVM 15.0.6, 256 bits)")
        );
        for software in ["Gallium 0.4 on softpipe", "Software Rasterizer", "Google SwiftShader"] {
            assert_eq!(verdict(software).0, "False", "{software}");
        }
    }

    #[test]
    fn a_known_renderer_is_kept_and_an_unknown_one_is_asked_for_again() {
        let mut seen = Observed { renderer: Renderer::Unreadable, ..fixture::observed() };
        seen.status.conditions = vec![condition(&seen, noon())];
        seen.renderer = Renderer::Named("NVIDIA H100".to_owned());
        let found = condition(&seen, noon());
        assert_eq!(found.status, "True");
        seen.status.conditions = vec![found.clone()];
        seen.renderer = Renderer::Unreadable;
        assert_eq!(condition(&seen, noon()), found);
    }
}
