//! Faults between a controller and the API server.

use std::time::Duration;

use axum::http::{Method, Uri};
use fastrand::Rng;

/// The current kind of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storm {
    Calm,
    TooManyRequests,
    ServerErrors,
    Slow,
    LostAnswers,
    Refused,
    /// Watches end repeatedly.
    WatchesDrop,
    /// Watches expire: 410 Gone.
    WatchesExpire,
}

/// The fate of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    /// Answered with this status, without reaching the API server.
    Answer(u16),
    Delay(Duration),
    /// It reaches the API server, but the connection is closed instead of a response.
    LoseAnswer,
    /// The connection is closed.
    Refuse,
}

/// The properties of a request that matter here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    pub is_watch: bool,
    /// Except a lease, which is written all the time.
    pub is_write: bool,
    is_lease: bool,
}

impl Asked {
    pub fn of(method: &Method, uri: &Uri) -> Self {
        let is_lease = uri.path().contains("/leases");
        Self {
            is_watch: uri
                .query()
                .is_some_and(|query| query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))),
            is_write: method != Method::GET && !is_lease,
            is_lease,
        }
    }

    /// Whether an idle controller makes such requests too.
    pub fn is_of_the_idle(self) -> bool {
        self.is_watch || self.is_lease
    }
}

impl Storm {
    pub const OF_WATCHES: [Self; 2] = [Self::WatchesDrop, Self::WatchesExpire];
    pub const OF_REQUESTS: [Self; 5] =
        [Self::TooManyRequests, Self::ServerErrors, Self::Slow, Self::LostAnswers, Self::Refused];

    /// Most requests fail and some succeed: the mixture is what is hard.
    pub fn strike(self, asked: Asked, rng: &mut Rng) -> Fault {
        let is_hit = rng.u8(..10) < 6;
        let delay = Duration::from_millis(rng.u64(50..1500));
        match self {
            _ if !is_hit => Fault::None,
            Self::TooManyRequests => Fault::Answer(429),
            Self::ServerErrors => Fault::Answer(500),
            Self::Slow => Fault::Delay(delay),
            Self::LostAnswers => Fault::LoseAnswer,
            Self::Refused => Fault::Refuse,
            Self::WatchesDrop if asked.is_watch => Fault::Refuse,
            Self::WatchesExpire if asked.is_watch => Fault::Answer(410),
            Self::Calm | Self::WatchesDrop | Self::WatchesExpire => Fault::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_faults() {
        let watch = Asked::of(&Method::GET, &Uri::from_static("/api/v1/pods?labelSelector=a&watch=true"));
        let strikes = |seed| {
            let mut rng = Rng::with_seed(seed);
            Storm::OF_REQUESTS.map(|storm| storm.strike(watch, &mut rng))
        };
        assert_eq!(strikes(7), strikes(7));
        assert!((0..20).any(|seed| strikes(seed) != strikes(7)));
    }

    #[test]
    fn a_lease_is_no_write_and_a_watch_is_known_by_its_query() {
        let asked = |method, uri| Asked::of(&method, &Uri::from_static(uri));
        assert!(!asked(Method::PATCH, "/apis/coordination.k8s.io/v1/namespaces/a/leases/b").is_write);
        assert!(asked(Method::POST, "/api/v1/namespaces/a/pods").is_write);
        assert!(asked(Method::GET, "/api/v1/pods?watch=true&resourceVersion=7").is_watch);
        assert!(!asked(Method::GET, "/api/v1/pods?limit=500").is_of_the_idle());
    }
}
