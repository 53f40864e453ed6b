//! Whether a desktop really renders on a GPU: the condition `Accelerated`.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{observe::Observed, plan::Notice};

pub const CONDITION: &str = "Accelerated";
pub const SOFTWARE: &str = "SoftwareRendering";
/// A desktop that is up may need a moment until it knows what it renders with.
pub const ASK_AGAIN: Duration = Duration::from_secs(10);
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What is known of what a desktop renders with.
#[derive(Clone, Debug, PartialEq)]
pub enum Renderer {
    /// Its template doesn't say where the image publishes it.
    NotPublished,
    /// It didn't answer, or not with a name.
    Unreadable,
    /// In the words of OpenGL's `GL_RENDERER`.
    Named(String),
}

impl Renderer {
    /// Reads what a desktop publishes: the first line, as far as it can be shown.
    pub fn parse(text: &str) -> Self {
        const SHOWN: usize = 120;
        let line = text.trim().lines().next().unwrap_or_default();
        let name: String = line.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
        if name.is_empty() { Self::Unreadable } else { Self::Named(name) }
    }
}

/// Whether it was found out; that holds until the session gets another pod.
pub fn is_known(seen: &Observed) -> bool {
    published(seen).is_some_and(|condition| condition.status != "Unknown")
}

/// Whether its desktop was up: until the session gets another pod, what it renders with is told, be it that nobody knows.
pub fn was_looked_at(seen: &Observed) -> bool {
    published(seen).is_some()
}

fn published(seen: &Observed) -> Option<&Condition> {
    seen.status.conditions.iter().find(|condition| condition.type_ == CONDITION)
}

/// The condition of a desktop that is up.
pub fn condition(seen: &Observed, now: Timestamp) -> Condition {
    let known = published(seen);
    if let Some(known) = known.filter(|_| is_known(seen)) {
        return known.clone();
    }
    let (status, reason, message) = match &seen.renderer {
        Renderer::NotPublished => {
            ("Unknown", "RendererNotPublished", "the image does not tell what it renders with".to_owned())
        }
        Renderer::Unreadable => {
            ("Unknown", "RendererUnreadable", "the desktop does not tell what it renders with".to_owned())
        }
        Renderer::Named(name) if is_software(name) => {
            ("False", SOFTWARE, format!("it renders in software, with {name}"))
        }
        Renderer::Named(name) => ("True", "Renderer", format!("it renders with {name}")),
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
    let message = format!("this session has GPUs, but {}", condition.message);
    Notice { reason: SOFTWARE, message, key: start.to_string() }
}

/// [Mesa's drivers] that draw on the processor, and those of others.
///
/// [Mesa's drivers]: https://docs.mesa3d.org/drivers/llvmpipe.html
fn is_software(renderer: &str) -> bool {
    let name = renderer.to_ascii_lowercase();
    ["llvmpipe", "lavapipe", "softpipe", "swrast", "software rasterizer", "swiftshader", "basic render"]
        .iter()
        .any(|driver| name.contains(driver))
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
    fn a_renderer_is_told_by_its_name_and_software_is_known() {
        assert_eq!(verdict("NVIDIA H100 80GB HBM3/PCIe/SSE2\n").0, "True");
        assert_eq!(
            verdict("AMD Radeon RX 7900 XTX (radeonsi, navi31, LLVM 15.0.7)").0,
            "True",
            "LLVM alone is no proof"
        );
        let (status, message) = verdict("llvmpipe (LLVM 15.0.6, 256 bits)");
        assert_eq!(
            (status.as_str(), message.as_str()),
            ("False", "it renders in software, with llvmpipe (LLVM 15.0.6, 256 bits)")
        );
        for software in ["Gallium 0.4 on softpipe", "Software Rasterizer", "Google SwiftShader"] {
            assert_eq!(verdict(software).0, "False", "{software}");
        }
    }

    #[test]
    fn what_a_desktop_publishes_is_shown_short_and_without_control_characters() {
        assert_eq!(Renderer::parse(""), Renderer::Unreadable);
        assert_eq!(Renderer::parse("\n\t\n"), Renderer::Unreadable);
        assert_eq!(Renderer::parse("a\u{1b}[31mb\r\nnext"), Renderer::Named("a[31mb".to_owned()));
        assert_eq!(Renderer::parse(&"x".repeat(5000)), Renderer::Named("x".repeat(120)));
    }

    #[test]
    fn what_was_found_out_holds_and_what_was_not_is_asked_again() {
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
