//! Whether a request may pass to a desktop.
//!
//! It fails closed, and in an order that tells strangers nothing: without a valid token, nobody learns whether a host
//! has a session, or whose it is.

use jiff::Timestamp;
use vdi_api::Email;

use crate::{
    sessions::{Desktop, Session},
    token::{self, Claims, Expected, KeyRing, Purpose, TokenError},
};

/// The parts of a request that decide.
#[derive(Clone, Copy, Debug)]
pub struct AccessRequest<'a> {
    pub host: &'a str,
    /// From the cookie.
    pub token: Option<&'a str>,
    /// Whether a page of another origin made the browser send it.
    pub is_cross_origin: bool,
}

#[derive(Debug, PartialEq)]
pub enum Decision {
    /// To this desktop, for as long as the claims are valid.
    Pass { desktop: Desktop, claims: Box<Claims> },
    /// The owner has to wait: the desktop isn't running yet, or no longer.
    Wait { claims: Box<Claims> },
    /// The token was valid for this host, which has no session any more.
    Ended,
    /// No valid token: sign in first.
    SignIn(DenyReason),
    /// Signing in would not help.
    Forbid(DenyReason),
}

/// Why a request may not pass: for logs and metrics, not for the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DenyReason {
    NoToken,
    NoSession,
    Token(TokenError),
    NotTheOwner,
    CrossOrigin,
    /// A launch code that was used before.
    UsedCode,
    /// A sign-in that was finished in another browser than it began in.
    NotBegun,
}

/// `session` is the one that has the host now, if any.
pub fn decide(
    request: &AccessRequest,
    session: Option<&Session>,
    issuer: &str,
    keys: &KeyRing,
    now: Timestamp,
) -> Decision {
    // First of all, because another site's page can make a browser send the token.
    if request.is_cross_origin {
        return Decision::Forbid(DenyReason::CrossOrigin);
    }
    let Some(token) = request.token else { return Decision::SignIn(DenyReason::NoToken) };
    let session = session.filter(|session| session.host == request.host);
    let session_uid = session.map(|session| &*session.uid);
    let expected = Expected { purpose: Purpose::Session, issuer, session_uid, host: request.host };
    let (session, claims) = match (session, token::verify(token, keys, &expected, now)) {
        (Some(session), Ok(claims)) => (session, Box::new(claims)),
        (Some(_), Err(error)) => return Decision::SignIn(DenyReason::Token(error)),
        (None, Ok(_)) => return Decision::Ended,
        (None, Err(_)) => return Decision::SignIn(DenyReason::NoSession),
    };
    // A session has one owner for life: one that is deleted and made again has another uid. This check is a second line
    // of defence.
    let is_owner = claims.email.parse::<Email>().is_ok_and(|email| email.is_same_person(&session.owner));
    if !is_owner {
        return Decision::Forbid(DenyReason::NotTheOwner);
    }
    match session.running() {
        Some(desktop) => Decision::Pass { desktop: desktop.clone(), claims },
        None => Decision::Wait { claims },
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use vdi_api::Phase;

    use super::*;
    use crate::{
        fixture::{noon, session},
        token::{Grant, Key, Schedule, sign},
    };

    const ISSUER: &str = "https://vdi.example.com";
    const HOST: &str = "alice.vdi.example.com";

    fn keys() -> KeyRing {
        KeyRing::new(vec![Key::generate(noon()).unwrap().0])
    }

    fn token(keys: &KeyRing, email: &str, session: &Session) -> String {
        let email = email.parse().unwrap();
        let grant = Grant {
            purpose: Purpose::Session,
            issuer: ISSUER,
            session_uid: &session.uid,
            subject: "alice",
            email: &email,
            host: &session.host,
            session_ends: session.ends,
            signed_in: None,
        };
        let schedule = Schedule { rotation: std::time::Duration::MAX, spread: std::time::Duration::ZERO };
        sign(&grant, keys, &schedule, noon()).unwrap()
    }

    fn waits(decision: &Decision) -> bool {
        matches!(decision, Decision::Wait { .. })
    }

    fn passes(decision: &Decision) -> bool {
        matches!(decision, Decision::Pass { .. })
    }

    #[test]
    fn the_owner_is_passed_to_the_desktop() {
        let (keys, session) = (keys(), session());
        let token = token(&keys, "alice@EXAMPLE.com", &session);
        let request = AccessRequest { host: HOST, token: Some(&token), is_cross_origin: false };
        assert!(passes(&decide(&request, Some(&session), ISSUER, &keys, noon())));
    }

    #[test]
    fn without_a_valid_token_a_stranger_has_to_sign_in_and_learns_nothing_else() {
        let (keys, session) = (keys(), session());
        let good = token(&keys, "alice@example.com", &session);
        let request = |token| AccessRequest { host: HOST, token, is_cross_origin: false };
        let at = |token, session: Option<&Session>| decide(&request(token), session, ISSUER, &keys, noon());
        assert_eq!(at(None, Some(&session)), Decision::SignIn(DenyReason::NoToken));
        assert_eq!(at(None, None), Decision::SignIn(DenyReason::NoToken));
        assert_eq!(at(Some("x"), None), Decision::SignIn(DenyReason::NoSession));
        assert_eq!(at(Some("x"), Some(&session)), Decision::SignIn(DenyReason::Token(TokenError::Malformed)));
        let later = noon() + SignedDuration::from_hours(2);
        let late = decide(&request(Some(&good)), Some(&session), ISSUER, &keys, later);
        assert_eq!(late, Decision::SignIn(DenyReason::Token(TokenError::Expired)));
    }

    #[test]
    fn a_token_is_valid_for_one_session_and_one_host() {
        let (keys, alices) = (keys(), session());
        let good = token(&keys, "alice@example.com", &alices);
        let again = Session { uid: "2".to_owned(), ..alices.clone() };
        let request = AccessRequest { host: HOST, token: Some(&good), is_cross_origin: false };
        let decision = decide(&request, Some(&again), ISSUER, &keys, noon());
        assert_eq!(
            decision,
            Decision::SignIn(DenyReason::Token(TokenError::Audience)),
            "made again under the same name"
        );
        let bobs = Session { host: "bob.vdi.example.com".to_owned(), ..alices };
        let request = AccessRequest { host: &bobs.host, ..request };
        let decision = decide(&request, Some(&bobs), ISSUER, &keys, noon());
        assert_eq!(decision, Decision::SignIn(DenyReason::Token(TokenError::Host)));
        let request = AccessRequest { host: HOST, ..request };
        assert!(!passes(&decide(&request, Some(&bobs), ISSUER, &keys, noon())), "the session has another host by now");
    }

    #[test]
    fn somebody_elses_token_is_refused_and_signing_in_would_not_help() {
        let (keys, session) = (keys(), session());
        for email in ["bob@example.com", "Alice@example.com", "alice@example.org", "alice@example.com.evil.org"] {
            let token = token(&keys, email, &session);
            let request = AccessRequest { host: HOST, token: Some(&token), is_cross_origin: false };
            let decision = decide(&request, Some(&session), ISSUER, &keys, noon());
            assert_eq!(decision, Decision::Forbid(DenyReason::NotTheOwner), "{email}");
        }
    }

    #[test]
    fn a_request_from_another_sites_page_is_refused_even_with_a_valid_token() {
        let (keys, session) = (keys(), session());
        let token = token(&keys, "alice@example.com", &session);
        let request = AccessRequest { host: HOST, token: Some(&token), is_cross_origin: true };
        let decision = decide(&request, Some(&session), ISSUER, &keys, noon());
        assert_eq!(decision, Decision::Forbid(DenyReason::CrossOrigin));
    }

    #[test]
    fn the_owner_waits_for_a_desktop_that_is_not_running() {
        let (keys, running) = (keys(), session());
        let token = token(&keys, "alice@example.com", &running);
        let request = AccessRequest { host: HOST, token: Some(&token), is_cross_origin: false };
        for phase in [Phase::Pending, Phase::Creating, Phase::Terminating, Phase::Failed] {
            let session = Session { phase, ..running.clone() };
            assert!(waits(&decide(&request, Some(&session), ISSUER, &keys, noon())), "{phase:?}");
        }
        let without = Session { desktop: None, ..running };
        assert!(waits(&decide(&request, Some(&without), ISSUER, &keys, noon())));
    }

    #[test]
    fn only_its_owner_learns_that_a_session_has_ended() {
        let (keys, session) = (keys(), session());
        let good = token(&keys, "alice@example.com", &session);
        let request = AccessRequest { host: HOST, token: Some(&good), is_cross_origin: false };
        assert_eq!(decide(&request, None, ISSUER, &keys, noon()), Decision::Ended);
        let forged = token(&self::keys(), "alice@example.com", &session);
        for token in [None, Some("x"), Some(&*forged)] {
            let decision = decide(&AccessRequest { token, ..request }, None, ISSUER, &keys, noon());
            assert!(matches!(decision, Decision::SignIn(DenyReason::NoToken | DenyReason::NoSession)), "{decision:?}");
        }
        let elsewhere = AccessRequest { host: "bob.vdi.example.com", ..request };
        assert_eq!(decide(&elsewhere, None, ISSUER, &keys, noon()), Decision::SignIn(DenyReason::NoSession));
    }
}
