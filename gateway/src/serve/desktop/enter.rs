//! How a browser gets a session token, and how it renews it.

use axum::{body::Body, response::Response};
use http::{HeaderValue, Request, StatusCode, header::SET_COOKIE};
use jiff::Timestamp;

use crate::{
    access::DenyReason,
    pages::text,
    request::{cookie, origin::is_cross_origin},
    serve::{
        access_log::LogFields,
        body,
        gateway::{Access, Gateway, Visitor},
        refusal::Refusal,
    },
    sessions::Session,
    token::{Claims, Expected, Grant, KeyRing, Purpose, verify},
};

/// Longer than any code, in bytes.
const LONGEST: usize = 4096;

/// Exchanges the code of a launch link for a session token, once. A second line in the body names the attempt.
pub async fn enter(gateway: &Gateway, host: &str, request: Request<Body>) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    if is_cross_origin(&head.method, &head.headers, &gateway.public.origin_of(host)) {
        return Err(Refusal::Denied(DenyReason::CrossOrigin));
    }
    let keys = gateway.ring()?;
    let body = String::from_utf8(body::read(body, LONGEST).await?.into()).unwrap_or_default();
    let (code, attempt) = body.trim().split_once('\n').unwrap_or((body.trim(), ""));

    let session = gateway.directory.by_host(host).map(|changes| changes.borrow().clone());
    // If no session has this host, a uid that no code is for.
    let session_uid = Some(session.as_ref().map_or("", |session| &*session.uid));
    let issuer = gateway.issuer();
    let expected = Expected { purpose: Purpose::Launch, issuer: &issuer, session_uid, host };
    let claims = verify(code, &keys, &expected, Timestamp::now());
    let claims = claims.map_err(|error| Refusal::Code(DenyReason::Token(error)))?;
    let session = session.ok_or(Refusal::Code(DenyReason::NoSession))?;
    match gateway.replay_guard.redeem(&claims.jti, attempt).await {
        Ok(true) => {}
        Ok(false) => return Err(Refusal::Code(DenyReason::UsedCode)),
        Err(error) => {
            tracing::warn!(%error, "cannot check whether a code was used before");
            return Err(Refusal::message(StatusCode::SERVICE_UNAVAILABLE, "The cluster does not answer. Try again."));
        }
    }
    gateway.metrics.signed_in("launch");
    let mut answer = with_token(gateway, &session, &claims, &keys)?;
    // Removes what the pages of an earlier session at this host, perhaps another person's, have stored in the browser.
    answer.headers_mut().insert("clear-site-data", HeaderValue::from_static("\"storage\""));
    Ok(LogFields { user: Some(claims.sub.clone()), ..LogFields::default() }.attach(answer))
}

/// A new token for a browser that has a valid one.
pub fn renew(gateway: &Gateway, host: &str, request: Request<Body>) -> Result<Response, Refusal> {
    let (head, _) = request.into_parts();
    match gateway.authorize(host, &head)? {
        Access::Pass { visitor, .. } | Access::Wait(visitor) => {
            // Others may have lost their permission since; they have to ask for another link.
            let is_owner = visitor.is_owner();
            let Visitor { claims, session, .. } = visitor;
            if !is_owner || Timestamp::now().as_second() >= claims.sign_in_ends() {
                return Err(Refusal::message(StatusCode::FORBIDDEN, "this sign-in can't be renewed; sign in again"));
            }
            with_token(gateway, &session, &claims, &*gateway.ring()?)
        }
        Access::Ended => Err(Refusal::message(StatusCode::GONE, "the session has ended")),
    }
}

/// Sets a session token for the person with these claims.
fn with_token(gateway: &Gateway, session: &Session, claims: &Claims, keys: &KeyRing) -> Result<Response, Refusal> {
    let issuer = gateway.issuer();
    let token = gateway.sign(&grant(&issuer, session, claims), keys)?;
    let mut answer = text(StatusCode::OK, "ok");
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
        serve::portal::{LOGIN_AUDIENCE, launch},
        token::{Key, Schedule, TokenError, sign},
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
            session_uid: LOGIN_AUDIENCE,
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
        assert_eq!(good(&grant(ISSUER, &session, &renewed), after), Err(TokenError::Expired));
        assert_eq!(good(&launch::grant(ISSUER, "alice", &session, login.signed_in()), after), Err(TokenError::Expired));
    }
}
