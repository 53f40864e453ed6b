use std::fmt::{self, Debug};

use vdi_api::BasicAuth;

/// The name and password that a session's desktop asks for.
#[derive(Clone, PartialEq)]
pub struct Login {
    pub user: String,
    /// The environment variable that tells the desktop its user name.
    pub user_env: Option<String>,
    /// The environment variable that tells the desktop its password.
    pub password_env: String,
    /// Which key the password is derived from.
    pub key: String,
    pub password: String,
}

impl Login {
    /// What the template asks for, with a password derived from the key of this name.
    pub fn new(basic_auth: &BasicAuth, key: &str, password: String) -> Self {
        let BasicAuth { user, user_env, password_env } = basic_auth.clone();
        Self { user, user_env, password_env, key: key.to_owned(), password }
    }
}

/// Without the password: this may be logged.
impl Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "Login({} by key {})", self.user, self.key)
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture;

    #[test]
    fn no_password_is_in_what_may_be_logged() {
        let login = fixture::login();
        assert!(!format!("{login:?}").contains(&login.password));
    }
}
