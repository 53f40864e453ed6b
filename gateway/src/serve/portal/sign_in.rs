//! Signing in at the provider, and from there to a desktop.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header::SET_COOKIE, request::Parts};

use super::{launch::link, login};
use crate::{
    access::DenyReason,
    oidc::{Attempt, Provider, SignInError},
    pages::{Continue, Link, Message, page, redirect},
    request::{cookie, origin::is_cross_origin},
    serve::{access_log::LogFields, gateway::Gateway, refusal::Refusal},
};

/// Sends the browser to the provider. `destination` is the desktop's host to go to afterwards, or empty.
pub async fn begin(gateway: &Gateway, destination: &str) -> Result<Response, Refusal> {
    let provider = provider(gateway)?;
    let attempt = Attempt::begin().ok_or_else(|| failed(&"no random numbers from the operating system"))?;
    let permit = gateway.upstream.provider.try_acquire().ok_or(Refusal::Busy)?;
    let address = provider.address(&attempt, destination).await.map_err(|error| failed(&error))?;
    drop(permit);
    Ok(with_cookie(redirect(&address), &cookie::set(cookie::ATTEMPT, attempt.cookie())))
}

/// The browser returns from the provider. If it is the one that was sent there, signs it in and sends it on.
pub async fn finish(gateway: &Gateway, head: &Parts) -> Result<Response, Refusal> {
    let provider = provider(gateway)?;
    let attempt = cookie::of(&head.headers, cookie::ATTEMPT).map(|value| Attempt::of_cookie(&value));
    let state = query(head, "state").unwrap_or_default();
    let begun = attempt.as_ref().and_then(|attempt| Some((attempt, attempt.destination(&state)?)));
    // Another site can send a browser here with somebody else's code, but it can't set this cookie.
    let Some((attempt, destination)) = begun else {
        gateway.metrics.denied(DenyReason::NotBegun);
        let answer = page(StatusCode::BAD_REQUEST, &NOT_BEGUN);
        return Ok(LogFields { refused: Some(DenyReason::NotBegun), ..LogFields::default() }.attach(answer));
    };
    let code = query(head, "code").ok_or_else(|| failed(&query(head, "error").unwrap_or_default()))?;
    let permit = gateway.upstream.provider.try_acquire().ok_or(Refusal::Busy)?;
    let account = match provider.account(attempt, &code).await {
        Ok(account) => account,
        Err(error) => {
            let refusal = failed(&error);
            return match error {
                SignInError::NoVerifiedEmail(_) => Ok(page(StatusCode::FORBIDDEN, &NO_EMAIL)),
                _ => Err(refusal),
            };
        }
    };
    drop(permit);
    let token = login::sign(gateway, &account)?;
    gateway.metrics.signed_in("oidc");
    let to = if destination.is_empty() { "/".to_owned() } else { open_path(destination) };
    let answer = page(StatusCode::OK, &Continue { to: &to });
    let answer = with_cookie(answer, &cookie::set(cookie::LOGIN, &token));
    let answer = with_cookie(answer, &cookie::clear(cookie::ATTEMPT));
    Ok(LogFields { user: Some(account.email.to_string()), ..LogFields::default() }.attach(answer))
}

/// Opens a desktop for its owner, who signs in first if necessary.
pub async fn open(gateway: &Gateway, head: &Parts) -> Result<Response, Refusal> {
    // Only to a desktop's host: this is no open redirect.
    let host = query(head, "host").filter(|host| is_desktop(gateway, host)).ok_or_else(Refusal::not_found)?;
    let Some(claims) = login::claims(gateway, head)? else { return begin(gateway, &host).await };
    let session = gateway.directory.by_host(&host).map(|changes| changes.borrow().clone());
    let is_owner = |owner: &vdi_api::Email| claims.email.parse().is_ok_and(|email| owner.is_same_person(&email));
    // The same answer whether or not somebody else has a session there.
    let Some(session) = session.filter(|session| is_owner(&session.owner)) else {
        return Err(Refusal::Denied(DenyReason::NotTheOwner));
    };
    let fields = LogFields { user: Some(claims.email.clone()), ..LogFields::default() };
    let link = link(gateway, &claims.email, &session, claims.signed_in(), &*gateway.ring()?)?;
    Ok(fields.attach(redirect(&link)))
}

pub fn sign_out(gateway: &Gateway, head: &Parts) -> Result<Response, Refusal> {
    if is_cross_origin(&head.method, &head.headers, &gateway.issuer()) {
        return Err(Refusal::Denied(DenyReason::CrossOrigin));
    }
    Ok(with_cookie(redirect("/"), &cookie::clear(cookie::LOGIN)))
}

/// The path at the portal that opens the desktop at this host.
pub fn open_path(host: &str) -> String {
    format!("/.vdi/open?host={host}")
}

fn is_desktop(gateway: &Gateway, host: &str) -> bool {
    gateway.public.host_of(&gateway.public.origin_of(host)) == Some(host)
}

fn provider(gateway: &Gateway) -> Result<&Provider, Refusal> {
    gateway.provider.as_ref().ok_or_else(Refusal::not_found)
}

fn failed(error: &dyn std::fmt::Display) -> Refusal {
    // Quoted, because parts of it come from the provider or from anybody.
    tracing::warn!(error = format!("{:?}", error.to_string()), "a sign-in failed");
    Refusal::SignInFailed
}

fn query(head: &Parts, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(head.uri.query()?.as_bytes());
    pairs.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}

fn with_cookie(mut answer: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
    answer
}

const AGAIN: Option<Link> = Some(Link { href: "/.vdi/sign-in", label: "Sign in again" });

const NOT_BEGUN: Message = Message {
    title: "This sign-in did not begin here",
    text: "It began in another browser or too long ago, or somebody else sent you here.",
    link: AGAIN,
};

const NO_EMAIL: Message = Message {
    title: "Your address is not verified",
    text: "Desktops belong to e-mail addresses, and your account's address has not been verified. Ask the people \
           who manage your account to verify it.",
    link: AGAIN,
};
