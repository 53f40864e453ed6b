//! Whether a request may pass to a desktop. Pure: what is known about the session, and what the request carries, go in.
//!
//! It fails closed, and in an order that tells a stranger nothing: who has no good token learns neither whether there is a
//! session at a host nor whose it is.

use jiff::Timestamp;
use vdi_api::Email;

use crate::{
    session::{Desktop, Session},
    token::{self, Claims, Expected, KeyRing, Purpose, Refused},
};

/// What a request brings.
#[derive(Clone, Copy, Debug)]
pub struct Knock<'a> {
    pub host: &'a str,
    /// From the cookie.
    pub token: Option<&'a str>,
    /// Whether a page of another origin is behind it.
    pub is_from_elsewhere: bool,
}

#[derive(Debug, PartialEq)]
pub enum Decision {
    /// To this desktop, for as long as the claims are good.
    Pass { desktop: Desktop, claims: Box<Claims> },
    /// Its owner is there, and its desktop isn't yet, or no longer.
    Wait { claims: Box<Claims> },
    /// Who could enter a session at this host is there, and no session is at the host any more.
    Ended,
    /// Nobody who may enter is there: they have to sign in first.
    SignIn(Why),
    /// Signing in would not help.
    Forbid(Why),
}

/// Why it isn't passed: for logs and metrics, not for who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    NoToken,
    NoSession,
    Token(Refused),
    NotTheOwner,
    CrossOrigin,
    /// A launch code, shown once more.
    UsedCode,
    /// A sign-in that is finished by another browser than began it.
    NotBegun,
}

/// `session` is the one that has the host now, if there is one.
pub fn decide(knock: &Knock, session: Option<&Session>, issuer: &str, keys: &KeyRing, now: Timestamp) -> Decision {
    // Before anything else, as another site's page can make a browser send the token.
    if knock.is_from_elsewhere {
        return Decision::Forbid(Why::CrossOrigin);
    }
    let Some(token) = knock.token else { return Decision::SignIn(Why::NoToken) };
    let session = session.filter(|session| session.host == knock.host);
    let session_uid = session.map(|session| &*session.uid);
    let expected = Expected { purpose: Purpose::Session, issuer, session_uid, host: knock.host };
    let (session, claims) = match (session, token::verify(token, keys, &expected, now)) {
        (Some(session), Ok(claims)) => (session, Box::new(claims)),
        (Some(_), Err(refused)) => return Decision::SignIn(Why::Token(refused)),
        (None, Ok(_)) => return Decision::Ended,
        (None, Err(_)) => return Decision::SignIn(Why::NoSession),
    };
    // The session may have changed hands, as far as anybody can: deleted and made again it has another uid.
    let is_owner = claims.email.parse::<Email>().is_ok_and(|email| email.is_same_person(&session.owner));
    if !is_owner {
        return Decision::Forbid(Why::NotTheOwner);
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
        let knock = Knock { host: HOST, token: Some(&token), is_from_elsewhere: false };
        assert!(passes(&decide(&knock, Some(&session), ISSUER, &keys, noon())));
    }

    #[test]
    fn whoever_has_no_good_token_has_to_sign_in_and_learns_nothing_else() {
        let (keys, session) = (keys(), session());
        let good = token(&keys, "alice@example.com", &session);
        let knock = |token| Knock { host: HOST, token, is_from_elsewhere: false };
        let at = |token, session: Option<&Session>| decide(&knock(token), session, ISSUER, &keys, noon());
        assert_eq!(at(None, Some(&session)), Decision::SignIn(Why::NoToken));
        assert_eq!(at(None, None), Decision::SignIn(Why::NoToken));
        assert_eq!(at(Some("x"), None), Decision::SignIn(Why::NoSession));
        assert_eq!(at(Some("x"), Some(&session)), Decision::SignIn(Why::Token(Refused::Malformed)));
        let later = noon() + SignedDuration::from_hours(2);
        let late = decide(&knock(Some(&good)), Some(&session), ISSUER, &keys, later);
        assert_eq!(late, Decision::SignIn(Why::Token(Refused::Expired)));
    }

    #[test]
    fn a_token_is_good_for_one_session_and_one_host() {
        let (keys, alices) = (keys(), session());
        let good = token(&keys, "alice@example.com", &alices);
        let again = Session { uid: "2".to_owned(), ..alices.clone() };
        let knock = Knock { host: HOST, token: Some(&good), is_from_elsewhere: false };
        let decision = decide(&knock, Some(&again), ISSUER, &keys, noon());
        assert_eq!(decision, Decision::SignIn(Why::Token(Refused::Audience)), "made again under the same name");
        let bobs = Session { host: "bob.vdi.example.com".to_owned(), ..alices };
        let knock = Knock { host: &bobs.host, ..knock };
        let decision = decide(&knock, Some(&bobs), ISSUER, &keys, noon());
        assert_eq!(decision, Decision::SignIn(Why::Token(Refused::Host)));
        let knock = Knock { host: HOST, ..knock };
        assert!(!passes(&decide(&knock, Some(&bobs), ISSUER, &keys, noon())), "the session has another host by now");
    }

    #[test]
    fn a_token_of_somebody_else_is_refused_for_good() {
        let (keys, session) = (keys(), session());
        for email in ["bob@example.com", "Alice@example.com", "alice@example.org", "alice@example.com.evil.org"] {
            let token = token(&keys, email, &session);
            let knock = Knock { host: HOST, token: Some(&token), is_from_elsewhere: false };
            let decision = decide(&knock, Some(&session), ISSUER, &keys, noon());
            assert_eq!(decision, Decision::Forbid(Why::NotTheOwner), "{email}");
        }
    }

    #[test]
    fn what_another_sites_page_asks_for_is_refused_though_the_browser_sends_the_token() {
        let (keys, session) = (keys(), session());
        let token = token(&keys, "alice@example.com", &session);
        let knock = Knock { host: HOST, token: Some(&token), is_from_elsewhere: true };
        let decision = decide(&knock, Some(&session), ISSUER, &keys, noon());
        assert_eq!(decision, Decision::Forbid(Why::CrossOrigin));
    }

    #[test]
    fn its_owner_waits_for_a_desktop_that_is_not_running() {
        let (keys, running) = (keys(), session());
        let token = token(&keys, "alice@example.com", &running);
        let knock = Knock { host: HOST, token: Some(&token), is_from_elsewhere: false };
        for phase in [Phase::Pending, Phase::Creating, Phase::Terminating, Phase::Failed] {
            let session = Session { phase, ..running.clone() };
            assert!(waits(&decide(&knock, Some(&session), ISSUER, &keys, noon())), "{phase:?}");
        }
        let without = Session { desktop: None, ..running };
        assert!(waits(&decide(&knock, Some(&without), ISSUER, &keys, noon())));
    }

    #[test]
    fn who_could_enter_a_session_that_is_gone_is_told_so_and_nobody_else() {
        let (keys, session) = (keys(), session());
        let good = token(&keys, "alice@example.com", &session);
        let knock = Knock { host: HOST, token: Some(&good), is_from_elsewhere: false };
        assert_eq!(decide(&knock, None, ISSUER, &keys, noon()), Decision::Ended);
        let forged = token(&self::keys(), "alice@example.com", &session);
        for token in [None, Some("x"), Some(&*forged)] {
            let decision = decide(&Knock { token, ..knock }, None, ISSUER, &keys, noon());
            assert!(matches!(decision, Decision::SignIn(Why::NoToken | Why::NoSession)), "{decision:?}");
        }
        let elsewhere = Knock { host: "bob.vdi.example.com", ..knock };
        assert_eq!(decide(&elsewhere, None, ISSUER, &keys, noon()), Decision::SignIn(Why::NoSession));
    }
}
