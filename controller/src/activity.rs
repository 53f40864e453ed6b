//! When desktops were last used: asked of the gateways, which see what goes to each.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use vdi_api::Protocol;

use crate::fetch;

/// How long a desktop has gone without input.
#[derive(Clone, Debug, PartialEq)]
pub struct Idle {
    /// There was none after this moment,
    pub since: Timestamp,
    /// until this one.
    pub as_of: Timestamp,
}

/// What one gateway answers. In seconds back from the answer, so that its clock doesn't matter.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    /// For how long the gateway has been watching: of input before that, nothing is known.
    pub watching_for: f64,
    /// How long ago each session, by uid, had its last input through this gateway.
    #[serde(default)]
    pub last_input: HashMap<String, f64>,
}

/// What is known now. Nothing, while a gateway doesn't answer: then no session is idle.
#[derive(Default)]
pub struct Activity {
    gateways: Vec<ActivityUrl>,
    /// Where the token is that they want to see.
    token: Option<PathBuf>,
    known: Mutex<Option<Known>>,
}

struct Known {
    as_of: Timestamp,
    watching_since: Timestamp,
    last_input: HashMap<String, Timestamp>,
}

impl Activity {
    pub fn of(gateways: Vec<ActivityUrl>, token: Option<PathBuf>) -> Self {
        Self { gateways, token, known: Mutex::default() }
    }

    pub fn idle(&self, uid: &str) -> Option<Idle> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref()?;
        let last_input = known.last_input.get(uid).copied().unwrap_or(known.watching_since);
        Some(Idle { since: last_input.max(known.watching_since), as_of: known.as_of })
    }

    /// Asks all gateways again and again, and says when idleness is known that wasn't. Never returns.
    pub async fn follow(&self, now: impl Fn() -> Timestamp, known: impl Fn()) {
        const PAUSE: Duration = Duration::from_secs(5);
        while !self.gateways.is_empty() {
            let asked = now();
            let answers = self.ask_all().await.unwrap_or_else(|error| {
                tracing::warn!(error, "a gateway doesn't tell when desktops were used; until all do, none is idle");
                Vec::new()
            });
            if self.update(&answers, asked, now()) {
                known();
            }
            tokio::time::sleep(PAUSE).await;
        }
        std::future::pending().await
    }

    async fn ask_all(&self) -> Result<Vec<Answer>, String> {
        // Each time, as it may have been replaced.
        let token = match &self.token {
            Some(path) => {
                let text = tokio::fs::read_to_string(path).await;
                Some(text.map_err(|error| format!("reading {}: {error}", path.display()))?.trim().to_owned())
            }
            None => None,
        };
        let mut answers = Vec::new();
        for ActivityUrl { host, path } in &self.gateways {
            let addresses =
                tokio::net::lookup_host(host).await.map_err(|error| format!("looking up {host}: {error}"))?;
            let asked = addresses.map(|address| ask(address, path, token.as_deref()));
            answers.extend(futures::future::try_join_all(asked).await?);
        }
        Ok(answers)
    }

    /// Takes in what all gateways answered to requests that were sent at `asked` and answered by `answered`. Whether
    /// something is known now, and nothing was before.
    fn update(&self, answers: &[Answer], asked: Timestamp, answered: Timestamp) -> bool {
        let ago = |seconds: f64| answered - SignedDuration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
        let mut last_input: HashMap<String, Timestamp> = HashMap::new();
        for (uid, seconds) in answers.iter().flat_map(|answer| &answer.last_input) {
            let latest = last_input.entry(uid.clone()).or_insert(Timestamp::MIN);
            *latest = ago(*seconds).max(*latest);
        }
        let watching_since = answers.iter().map(|answer| ago(answer.watching_for)).max();
        let known = watching_since.map(|watching_since| Known { as_of: asked, watching_since, last_input });
        let is_known = known.is_some();
        let before = std::mem::replace(&mut *self.known.lock().unwrap_or_else(PoisonError::into_inner), known);
        is_known && before.is_none()
    }
}

/// Where gateways answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivityUrl {
    host: String,
    path: String,
}

impl FromStr for ActivityUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ALLOWED: &str = "the address of gateways looks like http://vdi-gateway.vdiwarden-system:8081/activity";
        let (host, path) = text.strip_prefix("http://").and_then(|rest| rest.split_once('/')).ok_or(ALLOWED)?;
        let port = host.rsplit_once(':').ok_or(ALLOWED)?.1;
        port.parse::<u16>().map_err(|_| ALLOWED)?;
        Ok(Self { host: host.to_owned(), path: format!("/{path}") })
    }
}

async fn ask(address: SocketAddr, path: &str, token: Option<&str>) -> Result<Answer, String> {
    const PATIENCE: Duration = Duration::from_secs(3);
    let text = match token {
        Some(token) => fetch::text_with_token(address, path, token, PATIENCE).await,
        None => fetch::text(address, Protocol::Http, path, PATIENCE).await,
    };
    let text = text.map_err(|error| format!("asking {address}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("the answer of {address}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::noon;

    fn answer(watching_for: f64, last_input: &[(&str, f64)]) -> Answer {
        let last_input = last_input.iter().map(|(uid, seconds)| ((*uid).to_owned(), *seconds)).collect();
        Answer { watching_for, last_input }
    }

    fn seconds_idle(answers: &[Answer], uid: &str) -> Option<i64> {
        let activity = Activity::default();
        activity.update(answers, noon() - SignedDuration::from_secs(1), noon());
        let idle = activity.idle(uid)?;
        assert_eq!(idle.as_of, noon() - SignedDuration::from_secs(1), "what came after the question isn't known");
        Some(noon().duration_since(idle.since).as_secs())
    }

    #[test]
    fn the_last_input_through_any_gateway_counts() {
        let answers = [answer(9000.0, &[("a", 300.0)]), answer(8000.0, &[("a", 20.0), ("b", 7.0)])];
        assert_eq!(seconds_idle(&answers, "a"), Some(20));
        assert_eq!(seconds_idle(&answers, "b"), Some(7));
    }

    #[test]
    fn a_gateway_that_has_just_started_may_have_missed_something() {
        let answers = [answer(9000.0, &[("a", 300.0)]), answer(60.0, &[])];
        assert_eq!(seconds_idle(&answers, "a"), Some(60));
        assert_eq!(seconds_idle(&answers, "unheard-of"), Some(60));
    }

    #[test]
    fn without_an_answer_nobody_is_idle() {
        assert_eq!(seconds_idle(&[], "a"), None);
        assert_eq!(Activity::default().idle("a"), None);
    }

    #[test]
    fn nonsense_in_an_answer_makes_nobody_idle_for_longer() {
        let answers = [answer(f64::INFINITY, &[("a", f64::NAN), ("b", -5.0)])];
        assert_eq!(seconds_idle(&answers, "a"), Some(0));
        assert_eq!(seconds_idle(&answers, "b"), Some(0));
    }
}
