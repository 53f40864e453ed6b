//! The settings for what the controller and the gateways have to agree on: the keys of desktops' passwords, and the token for
//! reports of activity.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use tokio::sync::watch;

use crate::{
    activity_token::ActivityToken,
    login_keys::LoginKeys,
    shared_secret::{Secrets, Shared},
};

/// Each from a file or from a Secret, in which case the programs make it themselves.
#[derive(Args, Clone, Debug)]
pub struct SharedValues {
    /// A file with the bearer token that the controller sends, and gateways require, at the activity URL. Without a token,
    /// gateways refuse everybody there
    #[arg(long, env = "VDI_ACTIVITY_TOKEN_FILE", value_name = "FILE")]
    pub activity_token_file: Option<PathBuf>,

    /// The Secret with that token at the key token, instead of a file. Whichever program finds none creates it with a random
    /// token
    #[arg(long, env = "VDI_ACTIVITY_TOKEN_SECRET", value_name = "NAME")]
    pub activity_token_secret: Option<String>,

    /// A file with the keys that desktops' passwords are derived from, newest first, one per line; the same for the controller
    /// and the gateways. Without keys, templates with basicAuth can't be used
    #[arg(long, env = "VDI_LOGIN_KEYS_FILE", value_name = "FILE")]
    pub login_keys_file: Option<PathBuf>,

    /// The Secret with those keys at the key login-keys, instead of a file. Whichever program finds none creates it with a random
    /// key
    #[arg(long, env = "VDI_LOGIN_KEYS_SECRET", value_name = "NAME")]
    pub login_keys_secret: Option<String>,
}

impl SharedValues {
    /// Checks that each has one source. (A conflict that clap knows would make it depend on where a setting comes from.)
    ///
    /// # Errors
    /// When something has two.
    pub fn check(&self) -> Result<()> {
        let both = |file: &Option<PathBuf>, secret: &Option<String>| file.is_some() && secret.is_some();
        let either = "set either --activity-token-file or --activity-token-secret, not both";
        ensure!(!both(&self.activity_token_file, &self.activity_token_secret), either);
        let either = "set either --login-keys-file or --login-keys-secret, not both";
        ensure!(!both(&self.login_keys_file, &self.login_keys_secret), either);
        Ok(())
    }

    /// The keys of desktops' passwords; none of them without a setting.
    ///
    /// # Errors
    /// When the file is wrong. A Secret that is wrong is waited for.
    pub fn login_keys(&self, secrets: &Secrets) -> Result<Shared<LoginKeys>> {
        match &self.login_keys_secret {
            Some(name) => Ok(secrets.follow(name, "login-keys")),
            None => Ok(watch::channel(Some(LoginKeys::read(self.login_keys_file.as_deref())?)).1),
        }
    }

    pub fn activity_token(&self, secrets: &Secrets) -> Option<ActivityToken> {
        let file = || self.activity_token_file.clone().map(ActivityToken::File);
        let secret = self.activity_token_secret.as_ref();
        secret.map(|name| ActivityToken::Secret(secrets.follow(name, "token"))).or_else(file)
    }
}
