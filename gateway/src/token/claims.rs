//! What a session token says.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vdi_api::Email;

/// [Registered claims], and two of our own. A claim that isn't here, or is here twice, makes a token invalid.
///
/// [Registered claims]: https://www.rfc-editor.org/rfc/rfc7519#section-4.1
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The gateway's own address, such as `https://vdi.example.com`.
    pub iss: String,
    pub aud: Audience,
    /// The person, in the words of who signed them in.
    pub sub: String,
    pub email: String,
    /// The one host at which this token is good, such as `alice.vdi.example.com`.
    pub host: String,
    /// Seconds since 1970, as the two below.
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
    /// When the person last showed who they are. What follows from a token keeps it, from the login to the last renewal.
    pub auth_time: i64,
    /// Another one for each token.
    pub jti: String,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To open a desktop, again and again.
    Session,
    /// To be exchanged for one of the above, once.
    Launch,
    /// To show at the portal who has signed in, for as long as they are not asked again.
    Login,
}

impl Purpose {
    /// How long such a token is good at most. A link is followed at once, and a page that stays open renews its own.
    pub const fn longest(self) -> Duration {
        match self {
            Self::Session => Duration::from_secs(60 * 60),
            Self::Launch => Duration::from_secs(60),
            Self::Login => Duration::from_secs(12 * 60 * 60),
        }
    }

    /// How long any token is good at most.
    pub const LONGEST: Duration = Self::Login.longest();

    const fn prefix(self) -> &'static str {
        match self {
            Self::Session => "vdi-session:",
            Self::Launch => "vdi-launch:",
            Self::Login => "vdi-login:",
        }
    }
}

/// A purpose, and one session where it is about one, which no other session of that name or host can pass for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Audience(String);

impl Audience {
    pub fn of(purpose: Purpose, session_uid: &str) -> Self {
        Self(format!("{}{session_uid}", purpose.prefix()))
    }

    /// Whether it is this purpose, at one session, or at any.
    pub fn is_for(&self, purpose: Purpose, session_uid: Option<&str>) -> bool {
        let uid = self.0.strip_prefix(purpose.prefix());
        uid.is_some_and(|uid| session_uid.is_none_or(|wanted| uid == wanted))
    }
}

/// Who is let in where, and until when.
#[derive(Clone, Debug)]
pub struct Grant<'a> {
    pub purpose: Purpose,
    pub issuer: &'a str,
    pub session_uid: &'a str,
    pub subject: &'a str,
    pub email: &'a Email,
    pub host: &'a str,
    /// When the session ends, where that is known.
    pub session_ends: Option<Timestamp>,
    /// When the subject showed who they are; `None` for just now.
    pub signed_in: Option<Timestamp>,
}

impl Claims {
    /// `id` must be random: it is what makes two tokens of the same second differ.
    pub fn of(grant: &Grant, id: String, now: Timestamp) -> Self {
        let now = now.as_second();
        // By the clock of another replica it may be to come, which no token says of itself.
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

    /// When the person showed who they are, for what follows from that.
    pub fn signed_in(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.auth_time).ok()
    }

    /// When the person has to show again who they are.
    pub fn sign_in_ends(&self) -> i64 {
        self.auth_time.saturating_add(seconds(Purpose::LONGEST))
    }
}

pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
