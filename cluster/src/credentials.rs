//! The bearer tokens of users.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, IoContext};
use crate::users::User;

pub(crate) struct Credentials(Vec<(User, String)>);

impl Credentials {
    /// Creates a random token of 128 bits for each user.
    pub fn new<'a>(users: impl IntoIterator<Item = &'a User>) -> Result<Self, Error> {
        let source = Path::new("/dev/urandom");
        let mut random = File::open(source).context("opening", source)?;
        let credential = |user: &User| {
            let mut token = [0; 16];
            random.read_exact(&mut token).context("reading", source)?;
            Ok((user.clone(), format!("{:032x}", u128::from_le_bytes(token))))
        };
        users.into_iter().map(credential).collect::<Result<_, _>>().map(Self)
    }

    pub fn token(&self, user: &User) -> Result<&str, Error> {
        let found = self.0.iter().find(|(known, _)| known == user);
        found.map(|(_, token)| token.as_str()).ok_or_else(|| Error::UnknownUser { name: user.name.clone() })
    }

    /// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#static-token-file
    pub fn token_file(&self) -> String {
        let line = |(User { name, groups }, token): &(User, String)| {
            let groups = groups.join(",");
            format!("{token},\"{name}\",\"{name}\",\"{groups}\"\n")
        };
        self.0.iter().map(line).collect()
    }
}
