//! How a token gets into a browser, and how it is renewed.

use axum::{body::Body, response::Response};
use http::{HeaderValue, Request, StatusCode, header::SET_COOKIE};
use jiff::Timestamp;

use super::{Decided, Entry, Gateway, access::About, body::small, pages::text, refusal::Refusal};
use crate::{
    cookie,
    decide::Why,
    origin::is_from_elsewhere,
    session::Session,
    token::{Claims, Expected, Grant, KeyRing, Purpose, verify},
};

/// More than any code.
const LONGEST: usize = 4096;

/// Exchanges the code of a launch link for a session token, once. What follows the code on a line of its own is the attempt.
pub async fn enter(gateway: &Gateway, host: &str, request: Request<Body>) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    if is_from_elsewhere(&head.method, &head.headers, &gateway.public.origin_of(host)) {
        return Err(Refusal::Why(Why::CrossOrigin));
    }
    let keys = gateway.ring()?;
    let body = String::from_utf8(small(body, LONGEST).await?.into()).unwrap_or_default();
    let (code, attempt) = body.trim().split_once('\n').unwrap_or((body.trim(), ""));

    let session = gateway.directory.at(host).map(|changes| changes.borrow().clone());
    // Where nobody has this host: a uid that no code has.
    let session_uid = Some(session.as_ref().map_or("", |session| &*session.uid));
    let issuer = gateway.issuer();
    let expected = Expected { purpose: Purpose::Launch, issuer: &issuer, session_uid, host };
    let claims = verify(code, &keys, &expected, Timestamp::now());
    let claims = claims.map_err(|refused| Refusal::Code(Why::Token(refused)))?;
    let session = session.ok_or(Refusal::Code(Why::NoSession))?;
    match gateway.once.is_first(&claims.jti, attempt).await {
        Ok(true) => {}
        Ok(false) => return Err(Refusal::Code(Why::UsedCode)),
        Err(error) => {
            tracing::warn!(%error, "whether a code was used before can't be found out");
            return Err(Refusal::said(StatusCode::SERVICE_UNAVAILABLE, "The cluster does not answer. Try again."));
        }
    }
    gateway.metrics.signed_in("launch");
    let mut answer = with_token(gateway, &session, &claims, &keys)?;
    // What the pages of an earlier session have left in the browser, at a host that may have been another's then.
    answer.headers_mut().insert("clear-site-data", HeaderValue::from_static("\"storage\""));
    Ok(About { user: Some(claims.sub.clone()), ..About::default() }.put(answer))
}

/// A new token for who has a good one.
pub fn renew(gateway: &Gateway, host: &str, request: Request<Body>) -> Result<Response, Refusal> {
    let (head, _) = request.into_parts();
    match gateway.decide(host, &head)? {
        Decided::Pass { entry, .. } | Decided::Wait(entry) => {
            // What others may do is not known here any more: they ask for another link.
            let is_owner = entry.is_the_owners();
            let Entry { claims, session, .. } = entry;
            if !is_owner || Timestamp::now().as_second() >= claims.sign_in_ends() {
                return Err(Refusal::said(StatusCode::FORBIDDEN, "this sign-in can't be renewed"));
            }
            with_token(gateway, &session, &claims, &*gateway.ring()?)
        }
        Decided::Ended => Err(Refusal::said(StatusCode::GONE, "the session has ended")),
    }
}

/// Sets a session token in the name of who has shown these claims.
fn with_token(gateway: &Gateway, session: &Session, claims: &Claims, keys: &KeyRing) -> Result<Response, Refusal> {
    let issuer = gateway.issuer();
    let token = gateway.sign(&grant(&issuer, session, claims), keys)?;
    let mut answer = text(StatusCode::OK, "good");
    if let Ok(cookie) = HeaderValue::from_str(&cookie::set(cookie::SESSION, &token)) {
        answer.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(answer)
}

fn grant<'a>(issuer: &'a str, session: &'a Session, claims: &'a Claims) -> Grant<'a> {
    Grant {
        purpose: Purpose::Session,
        issuer,
        session_uid: &session.uid,
        subject: &claims.sub,
        email: &session.owner,
        host: &session.host,
        session_ends: session.ends,
        signed_in: claims.signed_in(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;

    use super::*;
    use crate::{
        fixture::{noon, session},
        serve::{launch, portal::AUDIENCE},
        token::{Key, Refused, Schedule, sign},
    };

    #[test]
    fn what_follows_from_a_login_ends_half_a_day_after_it_however_late_its_link_is_followed() {
        const ISSUER: &str = "https://vdi.example.com";
        let keys = KeyRing::new(vec![Key::generate(noon()).unwrap().0]);
        let schedule = Schedule { rotation: Duration::MAX, spread: Duration::ZERO };
        let session = Session { ends: None, ..session() };
        let good = |grant: &Grant, now: Timestamp| {
            let expected = Expected {
                purpose: grant.purpose,
                issuer: ISSUER,
                session_uid: Some(grant.session_uid),
                host: grant.host,
            };
            verify(&sign(grant, &keys, &schedule, now).unwrap(), &keys, &expected, now)
        };
        let login = Grant {
            purpose: Purpose::Login,
            issuer: ISSUER,
            session_uid: AUDIENCE,
            subject: "alice",
            email: &session.owner,
            host: "vdi.example.com",
            session_ends: None,
            signed_in: None,
        };
        let login = good(&login, noon()).unwrap();
        let (end, late) = (login.exp, noon() + SignedDuration::from_secs(12 * 3600 - 90));
        assert_eq!(end, noon().as_second() + 12 * 3600);

        let code = good(&launch::grant(ISSUER, "alice", &session, login.signed_in()), late).unwrap();
        assert_eq!((code.auth_time, code.exp), (noon().as_second(), late.as_second() + 60));
        let token = good(&grant(ISSUER, &session, &code), late).unwrap();
        assert_eq!((token.auth_time, token.exp), (noon().as_second(), end));
        let renewed = good(&grant(ISSUER, &session, &token), late + SignedDuration::from_secs(60)).unwrap();
        assert_eq!((renewed.sign_in_ends(), renewed.exp), (end, end));
        let after = noon() + SignedDuration::from_secs(12 * 3600 + 30);
        assert_eq!(good(&grant(ISSUER, &session, &renewed), after), Err(Refused::Expired));
        assert_eq!(good(&launch::grant(ISSUER, "alice", &session, login.signed_in()), after), Err(Refused::Expired));
    }
}
