//! Signing in at the provider, and from there to a desktop.

use axum::response::Response;
use http::{
    HeaderValue, StatusCode,
    header::{LOCATION, SET_COOKIE},
    request::Parts,
};

use super::{
    Gateway,
    access::About,
    launch::link,
    pages::{Link, Message, Onward, page, text},
    portal::AUDIENCE,
    refusal::Refusal,
};
use crate::{
    cookie,
    decide::Why,
    oidc::{Attempt, Provider, SignInError},
    origin::is_from_elsewhere,
    token::{Grant, Purpose},
};

/// Sends the browser to the provider. `wanted` is the desktop's host that it wants to go to, or empty.
pub async fn begin(gateway: &Gateway, wanted: &str) -> Result<Response, Refusal> {
    let provider = provider(gateway)?;
    let attempt = Attempt::begin().ok_or_else(|| failed(&"this machine gives no random numbers"))?;
    let asks = gateway.questions.provider.once_more().ok_or(Refusal::Busy)?;
    let address = provider.address(&attempt, wanted).await.map_err(|error| failed(&error))?;
    drop(asks);
    Ok(with_cookie(redirect(&address), &cookie::set(cookie::ATTEMPT, attempt.cookie())))
}

/// The browser is back from the provider: signs it in, when it is the one that was sent, and sends it on.
pub async fn end(gateway: &Gateway, head: &Parts) -> Result<Response, Refusal> {
    let provider = provider(gateway)?;
    let attempt = cookie::of(&head.headers, cookie::ATTEMPT).map(|value| Attempt::of_cookie(&value));
    let state = query(head, "state").unwrap_or_default();
    // Another site can make a browser come here with somebody else's code. What it can't do is set this cookie.
    let Some((attempt, wanted)) = attempt.as_ref().and_then(|attempt| Some((attempt, attempt.wanted(&state)?))) else {
        gateway.metrics.refused(Why::NotBegun);
        let answer = page(StatusCode::BAD_REQUEST, &NOT_BEGUN);
        return Ok(About { refused: Some(Why::NotBegun), ..About::default() }.put(answer));
    };
    let code = query(head, "code").ok_or_else(|| failed(&query(head, "error").unwrap_or_default()))?;
    let asks = gateway.questions.provider.once_more().ok_or(Refusal::Busy)?;
    let account = match provider.account(attempt, &code).await {
        Ok(account) => account,
        Err(SignInError::NoVerifiedEmail) => return Ok(page(StatusCode::FORBIDDEN, &NO_EMAIL)),
        Err(error) => return Err(failed(&error)),
    };
    drop(asks);
    let issuer = gateway.issuer();
    let grant = Grant {
        purpose: Purpose::Login,
        issuer: &issuer,
        session_uid: AUDIENCE,
        subject: &account.subject,
        email: &account.email,
        host: gateway.public.domain(),
        session_ends: None,
        signed_in: None,
    };
    let token = gateway.sign(&grant, &*gateway.ring()?)?;
    gateway.metrics.signed_in("oidc");
    let to = if wanted.is_empty() { "/".to_owned() } else { open_address(wanted) };
    let answer = page(StatusCode::OK, &Onward { to: &to });
    let answer = with_cookie(answer, &cookie::set(cookie::LOGIN, &token));
    let answer = with_cookie(answer, &cookie::clear(cookie::ATTEMPT));
    Ok(About { user: Some(account.email.to_string()), ..About::default() }.put(answer))
}

/// Opens a desktop for who has signed in; who hasn't does that first.
pub async fn open(gateway: &Gateway, head: &Parts) -> Result<Response, Refusal> {
    // Nowhere but to a desktop's host.
    let host = query(head, "host").filter(|host| is_desktop(gateway, host)).ok_or_else(super::desktop::not_found)?;
    let Some(claims) = gateway.signed_in(head)? else { return begin(gateway, &host).await };
    let session = gateway.directory.at(&host).map(|changes| changes.borrow().clone());
    let is_owner = |owner: &vdi_api::Email| claims.email.parse().is_ok_and(|email| owner.is_same_person(&email));
    // Whether there is somebody else's is not for everybody to know.
    let Some(session) = session.filter(|session| is_owner(&session.owner)) else {
        return Err(Refusal::Why(Why::NotTheOwner));
    };
    let about = About { user: Some(claims.email.clone()), ..About::default() };
    let link = link(gateway, &claims.email, &session, claims.signed_in(), &*gateway.ring()?)?;
    Ok(about.put(redirect(&link)))
}

pub fn sign_out(gateway: &Gateway, head: &Parts) -> Result<Response, Refusal> {
    if is_from_elsewhere(&head.method, &head.headers, &gateway.issuer()) {
        return Err(Refusal::Why(Why::CrossOrigin));
    }
    Ok(with_cookie(redirect("/"), &cookie::clear(cookie::LOGIN)))
}

/// Where a desktop is opened, at the portal.
pub fn open_address(host: &str) -> String {
    format!("/.vdi/open?host={host}")
}

fn is_desktop(gateway: &Gateway, host: &str) -> bool {
    gateway.public.host_of(&gateway.public.origin_of(host)) == Some(host)
}

fn provider(gateway: &Gateway) -> Result<&Provider, Refusal> {
    gateway.provider.as_ref().ok_or_else(super::desktop::not_found)
}

fn failed(error: &dyn std::fmt::Display) -> Refusal {
    // Quoted: some of it is the provider's, or anybody's, own words.
    tracing::warn!(error = format!("{:?}", error.to_string()), "somebody could not be signed in");
    Refusal::SignInFailed
}

fn query(head: &Parts, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(head.uri.query()?.as_bytes());
    pairs.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}

pub fn redirect(to: &str) -> Response {
    let mut answer = text(StatusCode::SEE_OTHER, "");
    if let Ok(to) = HeaderValue::from_str(to) {
        answer.headers_mut().insert(LOCATION, to);
    }
    answer
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
    text: "It began in another browser, or too long ago, or somebody has sent you here.",
    link: AGAIN,
};

const NO_EMAIL: Message = Message {
    title: "Your address is not verified",
    text: "Desktops belong to e-mail addresses, and the one of your account has not been verified. Whoever looks after your \
           accounts can do that.",
    link: AGAIN,
};
