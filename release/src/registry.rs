//! One repository in an OCI registry: the client, its credentials, and its errors explained.

use std::{
    fs::File,
    io::ErrorKind,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciEnvelope, OciErrorCode},
    secrets::RegistryAuth,
};

/// The folder where Docker keeps credentials: `DOCKER_CONFIG`, or `~/.docker`.
pub fn docker_config() -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_default().join(".docker");
    std::env::var_os("DOCKER_CONFIG").map_or_else(home, PathBuf::from)
}

pub struct Registry {
    pub reference: Reference,
    pub client: Client,
    pub auth: RegistryAuth,
    /// As `docker login` takes it, `ghcr.io`.
    name: String,
    credentials_file: String,
}

impl Registry {
    /// Parses `reference`, with or without Kubewarden's `registry://`, and finds the credentials for its registry.
    /// Sends nothing yet.
    pub async fn new(reference: &str, docker_config: &Path) -> Result<Self> {
        let reference: Reference =
            reference.strip_prefix("registry://").unwrap_or(reference).parse().with_context(|| {
                format!("{reference:?} is not an OCI reference such as ghcr.io/vdiwarden/policies/vdisession:v0.1.0")
            })?;
        let file = docker_config.join("config.json");
        let auth = credentials(reference.registry(), &file)?;
        let client = client(reference.registry())?;
        client.store_auth_if_needed(reference.resolve_registry(), &auth).await;
        let name = reference.registry().to_owned();
        Ok(Self { reference, client, auth, name, credentials_file: file.display().to_string() })
    }

    /// The reference that always means this manifest.
    pub fn immutable(&self, digest: &str) -> String {
        format!("{}/{}@{digest}", self.name, self.reference.repository())
    }

    /// The digest of what is there now, `None` if nothing is.
    ///
    /// # Errors
    /// When the registry doesn't answer, or refuses to.
    pub async fn digest(&self) -> Result<Option<String>> {
        match self.client.fetch_manifest_digest(&self.reference, &self.auth).await {
            Ok(digest) => Ok(Some(digest)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// The error, with what to do about it.
    pub fn explain(&self, error: OciDistributionError) -> anyhow::Error {
        let Self { reference, name, credentials_file, .. } = self;
        let said = said(&error).map_or_else(String::new, |said| format!(" ({said})"));
        match (status(&error), &self.auth) {
            (Some(401 | 403), RegistryAuth::Anonymous) => anyhow!(
                "{name} requires a login{said}, and there are no credentials for it in {credentials_file}: run \
                 `docker login {name}`"
            ),
            (Some(401 | 403), RegistryAuth::Basic(user, _)) => anyhow!(
                "{name} refuses the user {user:?}{said}: either the password in {credentials_file} is wrong \
                 (`docker login {name}` replaces it), or {user} lacks the permission"
            ),
            (Some(404), _) => anyhow!("{name} has no {reference}{said}: check the name, and that it has been pushed"),
            _ if matches!(&error, OciDistributionError::RequestError(error) if error.is_connect()) => {
                let how = if is_loopback(name) { "HTTP" } else { "HTTPS" };
                anyhow::Error::new(error).context(format!("can't reach {name} over {how}"))
            }
            _ => anyhow::Error::new(error).context(format!("unexpected answer from {name}")),
        }
    }
}

fn client(registry: &str) -> Result<Client> {
    // The client uses the process-wide provider; an error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let protocol = if is_loopback(registry) { ClientProtocol::Http } else { ClientProtocol::Https };
    let config = ClientConfig {
        protocol,
        connect_timeout: Some(Duration::from_secs(10)),
        read_timeout: Some(Duration::from_secs(60)),
        user_agent: concat!("vdiwarden/", env!("CARGO_PKG_VERSION")),
        platform_resolver: None,
        ..ClientConfig::default()
    };
    Client::try_from(config).context("can't create an HTTPS client")
}

/// Whether the registry is on this machine, where it needs no TLS.
fn is_loopback(registry: &str) -> bool {
    let host = registry.split_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Finds credentials as Docker does: in the file itself, or from the helper that it names.
fn credentials(registry: &str, file: &Path) -> Result<RegistryAuth> {
    let config = match File::open(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(RegistryAuth::Anonymous),
        config => config.with_context(|| format!("can't read {}", file.display()))?,
    };
    let server = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
    match get_credential_from_reader(config, server) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(RegistryAuth::Basic(user, password)),
        Ok(DockerCredential::IdentityToken(_)) => bail!(
            "{} has an identity token for {registry}, which only Docker can use: run `docker login {registry}` with a \
             user name and a password or access token",
            file.display()
        ),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(RegistryAuth::Anonymous),
        Err(CredentialRetrievalError::HelperFailure { helper, stdout, stderr }) => {
            // Every helper prints this when it has none. <https://github.com/docker/docker-credential-helpers>
            let has_none = stdout.contains("credentials not found");
            ensure!(
                has_none,
                "{helper} failed to return credentials for {registry}: {}",
                format!("{stdout} {stderr}").trim()
            );
            Ok(RegistryAuth::Anonymous)
        }
        Err(error) => {
            Err(error).with_context(|| format!("can't get credentials for {registry} from {}", file.display()))
        }
    }
}

fn status(error: &OciDistributionError) -> Option<u16> {
    use OciErrorCode::{BlobUnknown, Denied, ManifestUnknown, NameUnknown, NotFound, Unauthorized};
    match error {
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => Some(401),
        OciDistributionError::ServerError { code, .. } => Some(*code),
        OciDistributionError::RegistryError { envelope, .. } => match envelope.errors.first()?.code {
            Unauthorized | Denied => Some(403),
            BlobUnknown | ManifestUnknown | NameUnknown | NotFound => Some(404),
            _ => None,
        },
        _ => None,
    }
}

/// The registry's own message.
fn said(error: &OciDistributionError) -> Option<String> {
    let parsed: OciEnvelope;
    let envelope = match error {
        OciDistributionError::RegistryError { envelope, .. } => envelope,
        OciDistributionError::ServerError { message, .. } => {
            parsed = serde_json::from_str(message).ok()?;
            &parsed
        }
        _ => return None,
    };
    let messages: Vec<_> = envelope.errors.iter().map(|error| error.message.as_str()).collect();
    Some(messages.join("; ")).filter(|said| !said.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registries_on_this_machine_are_reached_without_tls() {
        for registry in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3"] {
            assert!(is_loopback(registry), "{registry}");
        }
        for registry in ["ghcr.io", "localhost.example.com", "127.0.0.1.example.com:5000", "10.0.0.1:5000", "0.0.0.0"] {
            assert!(!is_loopback(registry), "{registry}");
        }
    }

    #[test]
    fn credentials_are_found_as_docker_finds_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        let find = |registry: &str| credentials(registry, &file);
        assert_eq!(find("ghcr.io").unwrap(), RegistryAuth::Anonymous);
        std::fs::write(&file, r#"{"auths": {"ghcr.io": {"auth": "YTpi"}, "old.example.com": {"identitytoken": "x"}}}"#)
            .unwrap();
        assert_eq!(find("ghcr.io").unwrap(), RegistryAuth::Basic("a".to_owned(), "b".to_owned()));
        assert_eq!(find("example.com").unwrap(), RegistryAuth::Anonymous);
        assert!(find("old.example.com").unwrap_err().to_string().contains("docker login old.example.com"));
        std::fs::write(&file, "{").unwrap();
        assert!(find("ghcr.io").is_err());
    }
}
