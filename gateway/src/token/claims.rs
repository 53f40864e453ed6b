//! The content of a token.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vdi_api::Email;

/// [Registered claims], and two of our own. Unknown, missing and duplicate claims make a token invalid.
///
/// [Registered claims]: https://www.rfc-editor.org/rfc/rfc7519#section-4.1
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The gateway's public URL, such as `https://vdi.example.com`.
    pub iss: String,
    pub aud: Audience,
    /// The person, as the identity provider names them.
    pub sub: String,
    pub email: String,
    /// The only host at which this token is valid, such as `alice.vdi.example.com`.
    pub host: String,
    /// In seconds since 1970, like the three below.
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
    /// When the person last authenticated. Tokens that are issued for this one keep it, from the login to the last
    /// renewal.
    pub auth_time: i64,
    /// Unique for each token.
    pub jti: String,
}

/// The longest difference between the clocks of two replicas.
pub const SKEW: Duration = Duration::from_secs(30);

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Opens a desktop, any number of times.
    Session,
    /// Is exchanged for a session token, once.
    Launch,
    /// Shows the portal who has signed in.
    Login,
}

impl Purpose {
    /// The longest lifetime of such a token. A link is followed at once, and an open page renews its own.
    pub const fn longest(self) -> Duration {
        match self {
            Self::Session => Duration::from_secs(60 * 60),
            Self::Launch => Duration::from_secs(60),
            Self::Login => Duration::from_secs(12 * 60 * 60),
        }
    }

    /// The longest lifetime of any token.
    pub const LONGEST: Duration = Self::Login.longest();

    const fn prefix(self) -> &'static str {
        match self {
            Self::Session => "vdi-session:",
            Self::Launch => "vdi-launch:",
            Self::Login => "vdi-login:",
        }
    }
}

/// A purpose and what it is for: a session, by its uid, so that no later session of the same name or host can pass for
/// it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Audience(String);

impl Audience {
    pub fn of(purpose: Purpose, session_uid: &str) -> Self {
        Self(format!("{}{session_uid}", purpose.prefix()))
    }

    /// Whether it is this purpose, for this session, or for any if `None`.
    pub fn is_for(&self, purpose: Purpose, session_uid: Option<&str>) -> bool {
        let uid = self.0.strip_prefix(purpose.prefix());
        uid.is_some_and(|uid| session_uid.is_none_or(|wanted| uid == wanted))
    }
}

/// Who is let in where, and until when: what a token is made from.
#[derive(Clone, Debug)]
pub struct Grant<'a> {
    pub purpose: Purpose,
    pub issuer: &'a str,
    pub session_uid: &'a str,
    pub subject: &'a str,
    pub email: &'a Email,
    pub host: &'a str,
    /// When the session ends, if that is known.
    pub session_ends: Option<Timestamp>,
    /// When the subject authenticated; `None` for just now.
    pub signed_in: Option<Timestamp>,
}

impl Claims {
    /// `id` must be random: it is what distinguishes two tokens of the same second.
    pub fn of(grant: &Grant, id: String, now: Timestamp) -> Self {
        let now = now.as_second();
        // By another replica's clock it may be in the future, which no token may say.
        let auth_time = grant.signed_in.map_or(now, |time| time.as_second().min(now));
        let longest = (now + seconds(grant.purpose.longest())).min(auth_time + seconds(Purpose::LONGEST));
        Self {
            iss: grant.issuer.to_owned(),
            aud: Audience::of(grant.purpose, grant.session_uid),
            sub: grant.subject.to_owned(),
            email: grant.email.to_string(),
            host: grant.host.to_owned(),
            iat: now,
            nbf: now,
            auth_time,
            exp: grant.session_ends.map_or(longest, |end| end.as_second().min(longest)),
            jti: id,
        }
    }

    /// When the person authenticated, for tokens that are issued for this one.
    pub fn signed_in(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.auth_time).ok()
    }

    /// When the person has to authenticate again.
    pub fn sign_in_ends(&self) -> i64 {
        self.auth_time.saturating_add(seconds(Purpose::LONGEST))
    }
}

pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
