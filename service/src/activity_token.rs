//! The bearer token with which the controller asks gateways when desktops were last used.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::{files, shared_secret::Shared};

/// Where the token comes from. It is read each time, because it may have been replaced.
#[derive(Clone, Debug)]
pub enum ActivityToken {
    File(PathBuf),
    Secret(Shared<Token>),
}

/// A token that can't be guessed.
#[derive(Clone)]
pub struct Token(String);

/// The minimum length in characters. 32 hexadecimal digits are 128 bits.
const SHORTEST: usize = 32;

impl ActivityToken {
    /// The token as it is now.
    ///
    /// # Errors
    /// When the file can't be read, or the Secret hasn't been read yet.
    pub async fn read(&self) -> Result<String, String> {
        match self {
            Self::File(path) => {
                let text = tokio::fs::read_to_string(path).await.map_err(|error| files::problem(path, &error))?;
                Ok(text.trim().to_owned())
            }
            Self::Secret(shared) => {
                let token = shared.borrow().as_ref().map(|token| token.0.clone());
                token.ok_or_else(|| "the Secret with the activity token has not been read yet".to_owned())
            }
        }
    }

    /// Returns once the Secret, if it is one, has been read.
    pub async fn wait(&self) {
        if let Self::Secret(shared) = self {
            // An error means that nobody follows it any more, and then there is nothing to wait for.
            let _ = shared.clone().wait_for(Option::is_some).await;
        }
    }
}

impl FromStr for Token {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.len() < SHORTEST {
            return Err("it has fewer than 32 characters");
        }
        // Anything else can't be sent as a bearer token.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it has characters that are not printable ASCII");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;

    const GOOD: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_token_that_can_be_guessed_or_not_be_sent_is_refused_without_being_shown() {
        assert_eq!(format!("{:?}", format!("{GOOD}\n").parse::<Token>()), "Ok(Token)");
        for wrong in ["", "guess", "0123456789abcdef 0123456789abcdef", "0123456789abcdefé0123456789abcdef"] {
            assert!(!wrong.parse::<Token>().unwrap_err().contains("0123"), "{wrong}");
        }
    }

    #[tokio::test]
    async fn the_token_is_read_each_time() {
        let (sender, shared) = watch::channel(None);
        let token = ActivityToken::Secret(shared);
        assert!(token.read().await.is_err());
        sender.send_replace(Some(GOOD.parse().unwrap()));
        token.wait().await;
        assert_eq!(token.read().await.as_deref(), Ok(GOOD));
        let nowhere = ActivityToken::File("/nowhere".into());
        assert!(nowhere.read().await.unwrap_err().starts_with("/nowhere does not exist"));
    }
}
