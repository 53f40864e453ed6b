//! One attempt to sign in, which ends in the browser in which it began.

use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};

use crate::token::base64url;

/// What only this browser knows, in a cookie. What the attempt is recognized by follows from it, so that no replica has to
/// remember it, and nobody who doesn't have the cookie can make it up.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt(String);

impl Attempt {
    /// `None` where this machine gives no random numbers.
    pub fn begin() -> Option<Self> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).ok()?;
        Some(Self(base64url(&secret)))
    }

    /// As [`Attempt::cookie`] has set it.
    pub fn of_cookie(value: &str) -> Self {
        Self(value.to_owned())
    }

    pub fn cookie(&self) -> &str {
        &self.0
    }

    /// Comes back with the provider's answer ([RFC 6749, 10.12]). It holds on to where the browser wanted to go, too.
    ///
    /// [RFC 6749, 10.12]: https://www.rfc-editor.org/rfc/rfc6749#section-10.12
    pub fn state(&self, wanted: &str) -> String {
        format!("{}.{wanted}", self.derived("state", wanted))
    }

    /// Where the browser wanted to go, when this state is the attempt's.
    pub fn wanted<'a>(&self, state: &'a str) -> Option<&'a str> {
        let (_, wanted) = state.split_once('.')?;
        (self.state(wanted) == state).then_some(wanted)
    }

    /// Is in the ID token, so that a token of another attempt is none of this one.
    pub fn nonce(&self) -> String {
        self.derived("nonce", "")
    }

    /// Who has only the code can't exchange it ([RFC 7636]).
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
        for wanted in ["", "alice.vdi.example.com"] {
            let state = one.state(wanted);
            assert_eq!(Attempt::of_cookie(one.cookie()).wanted(&state), Some(wanted));
            assert_eq!(other.wanted(&state), None, "it began in another browser");
        }
        let state = one.state("alice.vdi.example.com").replace("alice", "bob");
        assert_eq!(one.wanted(&state), None, "it was led astray");
        assert_eq!(one.wanted(""), None);
    }

    #[test]
    fn what_is_sent_says_nothing_about_the_secret_nor_about_the_rest() {
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
