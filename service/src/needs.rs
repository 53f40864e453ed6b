//! What a program can't work without: the objects that it watches, Secrets, files. It starts without them, says in its log and on
//! /readyz what it waits for, and goes on once it is there. What was there once stays in use when it can't be had any more.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Everything that one program needs. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Needs(Arc<Mutex<BTreeMap<String, State>>>);

/// One thing that a program needs.
#[derive(Debug)]
pub struct Need {
    name: String,
    all: Needs,
}

#[derive(Debug, Default)]
struct State {
    is_met: bool,
    trouble: Option<Trouble>,
}

/// Why something can't be had, and when that was last found.
#[derive(Debug)]
struct Trouble {
    reason: String,
    last: Instant,
}

/// The same trouble after this much silence is a new one: not everything reports that it has recovered.
const SILENCE: Duration = Duration::from_secs(5 * 60);

impl Needs {
    /// Announces a need by its name, such as `the certificate`. The program is not ready until it is met.
    pub fn announce(&self, name: impl Into<String>) -> Need {
        let name = name.into();
        self.lock().insert(name.clone(), State::default());
        Need { name, all: self.clone() }
    }

    /// What the program waits for, a line each; empty once it is ready. What has only not been tried yet is left out where
    /// something is known to be lacking.
    pub fn waiting(&self) -> Vec<String> {
        let needs = self.lock();
        match lacking(&needs) {
            lacking if lacking.is_empty() => {
                needs.iter().filter(|(_, state)| !state.is_met).map(|(name, _)| format!("waiting for {name}")).collect()
            }
            lacking => lacking,
        }
    }

    /// What can't be had any more although the program goes on with what it knows of it, a line each.
    pub fn troubles(&self) -> Vec<String> {
        let needs = self.lock();
        let met = needs.iter().filter(|(_, state)| state.is_met);
        met.filter_map(|(name, state)| Some(format!("{name}: {}", state.trouble.as_ref()?.reason))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Need {
    /// It can't be had. Logged the first time, and when the reason changes; of needs that lack the same, once.
    pub fn lacks(&self, reason: &str) {
        let now = Instant::now();
        let mut needs = self.all.lock();
        let is_this = |trouble: &Trouble| trouble.reason == reason && now.duration_since(trouble.last) < SILENCE;
        let is_known = needs.values().any(|state| state.trouble.as_ref().is_some_and(is_this));
        let state = needs.entry(self.name.clone()).or_default();
        state.trouble = Some(Trouble { reason: reason.to_owned(), last: now });
        match state.is_met {
            _ if is_known => {}
            false => tracing::warn!("{}", waits(&self.name, reason)),
            true => tracing::warn!("going on with what is known of {}: {reason}", self.name),
        }
    }

    /// It is there, for the first time or again.
    pub fn is_met(&self) {
        let mut needs = self.all.lock();
        let state = needs.entry(self.name.clone()).or_default();
        state.is_met = true;
        let Some(Trouble { reason, .. }) = state.trouble.take() else { return };
        if !needs.values().any(|state| state.trouble.as_ref().is_some_and(|trouble| trouble.reason == reason)) {
            report(&needs, &format!("{} can be had, after: {reason}", self.name));
        }
    }

    /// Logs news about it.
    pub fn report(&self, news: &str) {
        report(&self.all.lock(), news);
    }
}

/// Logs news, with what the program still waits for: that is to be in the last line of the log.
fn report(needs: &BTreeMap<String, State>, news: &str) {
    let still: String = lacking(needs).iter().map(|line| format!("; still {line}")).collect();
    tracing::info!("{news}{still}");
}

/// What the program waits for and knows the reason of.
fn lacking(needs: &BTreeMap<String, State>) -> Vec<String> {
    let waiting = needs.iter().filter(|(_, state)| !state.is_met);
    waiting.filter_map(|(name, state)| Some(waits(name, &state.trouble.as_ref()?.reason))).collect()
}

fn waits(name: &str, reason: &str) -> String {
    format!("waiting for {name}: {reason}")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Log {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// The messages that something logs.
    fn logged(work: impl FnOnce()) -> Vec<String> {
        let log = Log::default();
        let format = tracing_subscriber::fmt().without_time().with_level(false).with_target(false).with_ansi(false);
        tracing::subscriber::with_default(format.with_writer(log.clone()).finish(), work);
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn what_is_lacking_is_said_once_until_the_reason_changes_or_it_is_there() {
        let needs = Needs::default();
        let pods = needs.announce("pods");
        let said = logged(|| {
            pods.lacks("away");
            pods.lacks("away");
            pods.lacks("forbidden");
            pods.is_met();
            pods.is_met();
            pods.lacks("away");
        });
        let expected = [
            "waiting for pods: away",
            "waiting for pods: forbidden",
            "pods can be had, after: forbidden",
            "going on with what is known of pods: away",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn of_needs_that_lack_the_same_only_the_first_is_logged_and_the_last_to_recover() {
        let needs = Needs::default();
        let (pods, nodes) = (needs.announce("pods"), needs.announce("nodes"));
        let said = logged(|| {
            pods.lacks("away");
            nodes.lacks("away");
            pods.is_met();
            nodes.is_met();
        });
        assert_eq!(said, ["waiting for pods: away", "nodes can be had, after: away"]);
    }

    #[test]
    fn news_of_one_need_end_with_what_is_still_lacking() {
        let needs = Needs::default();
        let (pods, nodes) = (needs.announce("pods"), needs.announce("nodes"));
        let said = logged(|| {
            nodes.lacks("forbidden");
            pods.lacks("away");
            pods.is_met();
            pods.report("created");
        });
        let still = "; still waiting for nodes: forbidden";
        assert_eq!(said[2..], [format!("pods can be had, after: away{still}"), format!("created{still}")]);
    }

    #[test]
    fn a_program_is_ready_once_every_need_was_met_and_stays_so() {
        let needs = Needs::default();
        let (pods, nodes) = (needs.announce("pods"), needs.announce("nodes"));
        assert_eq!(needs.waiting(), ["waiting for nodes", "waiting for pods"]);
        pods.lacks("forbidden");
        assert_eq!(needs.waiting(), ["waiting for pods: forbidden"]);
        pods.is_met();
        nodes.is_met();
        assert!(needs.waiting().is_empty() && needs.troubles().is_empty());
        pods.lacks("away");
        assert!(needs.waiting().is_empty(), "what is known of them is still good");
        assert_eq!(needs.troubles(), ["pods: away"]);
    }
}
