//! When desktops were last used. The gateways are asked, since all input passes through them.

mod known;

use std::{
    collections::HashSet,
    net::SocketAddr,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};
use vdi_api::Protocol;
use vdi_planner::model::Idle;
use vdi_service::ActivityToken;

use self::known::{Answer, Answered, Known, Place};
use super::fetch;

/// Asks all gateways, and remembers their answers.
#[derive(Default)]
pub struct Activity {
    gateways: Vec<ActivityUrl>,
    /// The bearer token that they expect.
    token: Option<ActivityToken>,
    known: Mutex<Known>,
}

/// How often gateways are asked. A gateway that stops waits to be asked once more.
const PERIOD: Duration = Duration::from_secs(5);
/// How long one may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

impl Activity {
    pub fn of(gateways: Vec<ActivityUrl>, token: Option<ActivityToken>) -> Self {
        Self { gateways, token, known: Mutex::default() }
    }

    pub fn idle(&self, uid: &str) -> Option<Idle> {
        self.known().idle(uid)
    }

    /// Asks all gateways periodically about the sessions that exist, and calls `begins` when idleness becomes known. Never returns.
    pub async fn follow(&self, now: impl Fn() -> Timestamp, sessions: impl Fn() -> HashSet<String>, begins: impl Fn()) {
        let mut clock = interval(PERIOD);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.gateways.is_empty() {
            clock.tick().await;
            let asked = Instant::now();
            let (mut places, are_all) = self.places().await;
            places.extend(self.known().not_listed_any_more(&places));
            let token = self.token().await;
            let answers = join_all(places.into_iter().map(|place| ask(place, &token))).await;
            let answered = Answered { answers, are_all, asked, answered: (Instant::now(), now()) };
            if self.known().take(answered, &sessions()) {
                begins();
            }
        }
        std::future::pending().await
    }

    /// The addresses of the gateways, and whether all could be resolved.
    async fn places(&self) -> (Vec<Place>, bool) {
        let (mut places, mut are_all) = (Vec::new(), true);
        for ActivityUrl { host, path } in &self.gateways {
            match tokio::net::lookup_host(host).await {
                Ok(addresses) => {
                    places.extend(addresses.map(|address| Place { address, path: path.clone(), is_listed: true }));
                }
                Err(error) => {
                    tracing::warn!(%error, host, "the gateways' host can't be resolved; no session counts as idle until it can");
                    are_all = false;
                }
            }
        }
        (places, are_all)
    }

    async fn token(&self) -> Result<Option<String>, String> {
        match &self.token {
            Some(token) => token.read().await.map(Some),
            None => Ok(None),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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

async fn ask(place: Place, token: &Result<Option<String>, String>) -> (Place, Result<Answer, String>) {
    let answer = match token {
        Ok(token) => answer_of(place.address, &place.path, token.as_deref()).await,
        Err(error) => Err(error.clone()),
    };
    if let Err(error) = &answer
        && place.is_listed
    {
        tracing::warn!(error, "a gateway doesn't report activity; no session counts as idle until all do");
    }
    (place, answer)
}

async fn answer_of(address: SocketAddr, path: &str, token: Option<&str>) -> Result<Answer, String> {
    let text = match token {
        Some(token) => fetch::text_with_token(address, path, token, PATIENCE).await,
        None => fetch::text(address, Protocol::Http, path, PATIENCE).await,
    };
    let text = text.map_err(|error| format!("asking {address}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("the answer of {address}: {error}"))
}
