//! One attempt to sign in, which has to end in the browser in which it began.

use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};

use crate::token::base64url;

/// A secret that only this browser has, in a cookie. `state`, `nonce` and the PKCE verifier are hashes of it, so that
/// no replica has to remember them, and nobody without the cookie can forge them.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt(String);

impl Attempt {
    /// `None` if the operating system has no random numbers.
    pub fn begin() -> Option<Self> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).ok()?;
        Some(Self(base64url(&secret)))
    }

    /// From the value that [`Attempt::cookie`] returned.
    pub fn of_cookie(value: &str) -> Self {
        Self(value.to_owned())
    }

    pub fn cookie(&self) -> &str {
        &self.0
    }

    /// Returns with the provider's answer ([RFC 6749, 10.12]). It also carries the destination.
    ///
    /// [RFC 6749, 10.12]: https://www.rfc-editor.org/rfc/rfc6749#section-10.12
    pub fn state(&self, destination: &str) -> String {
        format!("{}.{destination}", self.derived("state", destination))
    }

    /// The destination, if this state belongs to this attempt.
    pub fn destination<'a>(&self, state: &'a str) -> Option<&'a str> {
        let (_, destination) = state.split_once('.')?;
        (self.state(destination) == state).then_some(destination)
    }

    /// Is in the ID token, which ties it to this attempt.
    pub fn nonce(&self) -> String {
        self.derived("nonce", "")
    }

    /// The PKCE verifier: without it, a stolen code can't be exchanged ([RFC 7636]).
    ///
    /// [RFC 7636]: https://www.rfc-editor.org/rfc/rfc7636#section-4.1
    pub fn verifier(&self) -> String {
        self.derived("verifier", "")
    }

    fn derived(&self, purpose: &str, more: &str) -> String {
        base64url(digest(&SHA256, format!("{purpose}\n{}\n{more}", self.0).as_bytes()).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_belongs_to_the_browser_that_asked_and_leads_where_it_wanted_to_go() {
        let (one, other) = (Attempt::begin().unwrap(), Attempt::begin().unwrap());
        for destination in ["", "alice.vdi.example.com"] {
            let state = one.state(destination);
            assert_eq!(Attempt::of_cookie(one.cookie()).destination(&state), Some(destination));
            assert_eq!(other.destination(&state), None, "it began in another browser");
        }
        let state = one.state("alice.vdi.example.com").replace("alice", "bob");
        assert_eq!(one.destination(&state), None, "it was led astray");
        assert_eq!(one.destination(""), None);
    }

    #[test]
    fn derived_values_reveal_neither_the_secret_nor_each_other() {
        let attempt = Attempt::begin().unwrap();
        let state = attempt.state("");
        let all =
            [state.trim_end_matches('.'), &attempt.nonce(), &attempt.verifier(), attempt.cookie()].map(str::to_owned);
        for (n, one) in all.iter().enumerate() {
            assert_eq!(one.len(), 43, "256 bits, which is also what PKCE asks for");
            assert!(!all[..n].contains(one));
        }
    }
}
