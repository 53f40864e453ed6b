//! Getting in without a sign-in page: who shows a Kubernetes token gets a link that works once, for a minute.

mod identity;
mod once;

use kube::Client;
use vdi_api::Email;

pub use identity::Person;
use identity::{may_connect, review};
pub use once::Once;

use crate::session::Session;

/// Asks the API server who somebody is, and what they may.
#[derive(Clone)]
pub struct Doorman {
    client: Client,
    audience: String,
    /// Stands before the e-mail address in a user's name.
    username_prefix: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Why is in the log: the API server's words about it are not for strangers.
    #[error(
        "the token is not good here: it has to be one of this cluster, not expired, and for this gateway's audience"
    )]
    Token,
    /// Whether there is such a session is not for everybody to know.
    #[error("there is no session of that name that you may open")]
    Session,
    #[error("the API server can't be asked; try again")]
    Api(#[from] kube::Error),
}

impl Doorman {
    pub fn new(client: Client, audience: &str, username_prefix: &str) -> Self {
        Self { client, audience: audience.to_owned(), username_prefix: username_prefix.to_owned() }
    }

    /// Who shows this token.
    pub async fn person(&self, token: &str) -> Result<Person, Denied> {
        review(&self.client, token, &self.audience).await.inspect_err(|denied| {
            if let Denied::Api(error) = denied {
                tracing::warn!(%error, "a token could not be reviewed");
            }
        })
    }

    /// Whether this person may open the session: its owner may, and whom RBAC grants the verb `connect` on it. Returns what they
    /// are called: the owner by their address, others as the cluster knows them.
    pub async fn admit(&self, person: &Person, session: &Session) -> Result<String, Denied> {
        let email = person.name.strip_prefix(&self.username_prefix).and_then(|name| name.parse::<Email>().ok());
        if email.is_some_and(|email| email.is_same_person(&session.owner)) {
            return Ok(session.owner.to_string());
        }
        match may_connect(&self.client, person, session).await? {
            true => Ok(person.name.clone()),
            false => Err(Denied::Session),
        }
    }
}
