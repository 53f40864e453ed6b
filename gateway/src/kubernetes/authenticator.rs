//! Who a Kubernetes token belongs to, and which sessions that person may open.

use kube::Client;
use vdi_api::Email;

pub use super::reviews::Person;
use super::reviews::{AuthError, may_connect, review};
use crate::sessions::Session;

/// Asks the API server who somebody is and what they may do.
#[derive(Clone)]
pub struct Authenticator {
    client: Client,
    audience: String,
    /// What precedes the e-mail address in user names.
    username_prefix: String,
}

impl Authenticator {
    pub fn new(client: Client, audience: &str, username_prefix: &str) -> Self {
        Self { client, audience: audience.to_owned(), username_prefix: username_prefix.to_owned() }
    }

    /// The owner of this token.
    pub async fn person(&self, token: &str) -> Result<Person, AuthError> {
        review(&self.client, token, &self.audience).await.inspect_err(|error| {
            if let AuthError::Api(error) = error {
                tracing::warn!(%error, "a token could not be reviewed");
            }
        })
    }

    /// Checks that this person may open the session: as its owner, or because RBAC grants them the verb `connect` on
    /// it. Returns the subject of the token to sign: the owner's e-mail address, or another person's user name in the
    /// cluster.
    pub async fn authorize(&self, person: &Person, session: &Session) -> Result<String, AuthError> {
        let email = person.name.strip_prefix(&self.username_prefix).and_then(|name| name.parse::<Email>().ok());
        if email.is_some_and(|email| email.is_same_person(&session.owner)) {
            return Ok(session.owner.to_string());
        }
        match may_connect(&self.client, person, session).await? {
            true => Ok(person.name.clone()),
            false => Err(AuthError::Session),
        }
    }
}
