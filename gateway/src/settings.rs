//! The settings, by flag, environment variable or file. `docs/gateway.md` has the same table.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Result, ensure};
use clap::{ArgAction, Parser, builder::NonEmptyStringValueParser, value_parser};
use vdi_api::Timeout;
use vdi_gateway::{
    oidc::{Client, EMAIL_VERIFIED, IssuerUrl, Provider, RedirectUrl, parse_issuer},
    request::{PublicUrl, Scheme},
    serve::listen::certificate::CertificateFiles,
};
use vdi_service::{LogSettings, Reach, SharedValues, settings};

/// Lets the owner of a desktop in, and nobody else.
///
/// Connects to the cluster that KUBECONFIG or ~/.kube/config names or, inside a pod, to the pod's own cluster.
///
/// Every setting is a flag, an environment variable, or a line such as `log-format: text` in the file that --config
/// names. Flags override the environment, which overrides the file.
#[derive(Clone, Debug, Parser)]
#[command(name = "vdi-gateway", version)]
pub struct Settings {
    /// A YAML file with settings, named like the flags without the leading dashes
    #[arg(long, env = "VDI_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The URL at which browsers reach this gateway. Desktops are one label below it, so DNS and the certificate must
    /// also cover *.HOST
    #[arg(long, env = "VDI_PUBLIC_URL", value_name = "URL", default_value = "https://vdi.example.com")]
    pub public_url: PublicUrl,

    /// The address to serve browsers on
    #[arg(long, env = "VDI_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,

    /// The certificate for browsers, with its intermediates, as PEM. Reloaded when it changes
    #[arg(long, env = "VDI_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key, as PEM
    #[arg(long, env = "VDI_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// The highest number of open browser connections; one more is closed at once. Each takes a file descriptor, and
    /// another one for its connection to the desktop
    #[arg(long, env = "VDI_MAX_CONNECTIONS", value_name = "NUMBER", default_value = "10000", value_parser = value_parser!(u32).range(1..))]
    pub max_connections: u32,

    /// Serve browsers without TLS on an address other than loopback: only behind a proxy with TLS, on a network that
    /// nobody can eavesdrop on
    #[arg(long, env = "VDI_INSECURE_HTTP", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub insecure_http: bool,

    /// The address to serve /healthz, /readyz, /metrics, /activity and /check on, for the cluster only
    #[arg(long, env = "VDI_OPERATIONS_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8081")]
    pub operations_listen: SocketAddr,

    #[command(flatten)]
    pub shared: SharedValues,

    #[command(flatten)]
    pub reach: Reach,

    /// The namespace of its Secrets. Default: the pod's own, or vdiwarden-system outside a pod
    #[arg(long, env = "VDI_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// The namespace of the Leases that ensure that each launch code works once. It must have no other Leases. Default:
    /// the gateway's namespace with the suffix -codes
    #[arg(long, env = "VDI_CODES_NAMESPACE", value_name = "NAMESPACE")]
    pub codes_namespace: Option<String>,

    /// The Secret in which replicas share their signing keys
    #[arg(long, env = "VDI_KEYS_SECRET", value_name = "NAME", default_value = "vdi-gateway-keys")]
    pub keys_secret: String,

    /// How long a key signs before the next one takes over
    #[arg(long, env = "VDI_KEY_ROTATION", value_name = "DURATION", default_value = "24h")]
    pub key_rotation: Timeout,

    /// The audience that Kubernetes tokens sent to /launch must have
    #[arg(long, env = "VDI_TOKEN_AUDIENCE", value_name = "AUDIENCE", default_value = "vdi-gateway")]
    pub token_audience: String,

    /// The prefix of the e-mail address in the cluster's user names, the same as the policy's identity.usernamePrefix
    #[arg(long, env = "VDI_USERNAME_PREFIX", value_name = "PREFIX", default_value = "")]
    pub username_prefix: String,

    /// The OpenID provider at which people sign in. Without it, links from /launch are the only way in
    #[arg(long, env = "VDI_OIDC_ISSUER", value_name = "URL", requires = "oidc_client_id", value_parser = parse_issuer)]
    pub oidc_issuer: Option<IssuerUrl>,

    /// This gateway's client ID at the provider. Its redirect URI is the public URL followed by /.vdi/callback
    #[arg(long, env = "VDI_OIDC_CLIENT_ID", value_name = "ID", requires = "oidc_issuer")]
    pub oidc_client_id: Option<String>,

    /// A file with the client secret. Without it, this is a public client, protected by PKCE
    #[arg(long, env = "VDI_OIDC_CLIENT_SECRET_FILE", value_name = "FILE", requires = "oidc_issuer")]
    pub oidc_client_secret_file: Option<PathBuf>,

    /// A PEM file with the authority of the provider's certificate, if the system does not trust it
    #[arg(long, env = "VDI_OIDC_CA", value_name = "FILE", requires = "oidc_issuer")]
    pub oidc_ca: Option<PathBuf>,

    /// The claim by which the provider says that an account's e-mail address is verified, if it is true. Microsoft Entra ID has
    /// xms_edov in place of the standard one
    #[arg(long, env = "VDI_OIDC_EMAIL_VERIFIED_CLAIM", value_name = "CLAIM", default_value = EMAIL_VERIFIED, value_parser = NonEmptyStringValueParser::new())]
    pub oidc_email_verified_claim: String,

    /// How old the data from the watches of sessions and pods may be for new requests to be let in. Silence of up to
    /// ten seconds is normal and does not count
    #[arg(long, env = "VDI_CACHE_LIMIT", value_name = "DURATION", default_value = "2m")]
    pub cache_limit: Timeout,

    /// How long open connections may continue once this gateway has to stop
    #[arg(long, env = "VDI_DRAIN", value_name = "DURATION", default_value = "20s")]
    pub drain: Timeout,

    #[command(flatten)]
    pub log: LogSettings,
}

impl Settings {
    /// `None` without TLS, which is refused if others might eavesdrop.
    pub fn certificate(&self) -> Result<Option<CertificateFiles>> {
        if let (Some(certificate), Some(key)) = (self.tls_cert.clone(), self.tls_key.clone()) {
            ensure!(self.public_url.scheme() == Scheme::Https, "--public-url must be https, because --tls-cert is set");
            return Ok(Some(CertificateFiles { certificate, key }));
        }
        ensure!(
            self.insecure_http || self.listen.ip().is_loopback(),
            "no TLS: set --tls-cert and --tls-key, listen on loopback, or set --insecure-http behind a proxy with TLS"
        );
        Ok(None)
    }

    /// `None` if people can't sign in.
    pub fn provider(&self) -> Result<Option<Provider>> {
        let (Some(issuer), Some(id)) = (self.oidc_issuer.clone(), self.oidc_client_id.clone()) else { return Ok(None) };
        let redirect = RedirectUrl::new(format!("{}/.vdi/callback", self.public_url))?;
        let (secret, email_verified_claim) =
            (self.oidc_client_secret_file.clone(), self.oidc_email_verified_claim.clone());
        let client = Client { issuer, id, secret, redirect, email_verified_claim };
        Ok(Some(Provider::new(client, self.oidc_ca.clone())))
    }

    pub fn namespace(&self) -> String {
        self.namespace.clone().unwrap_or_else(settings::own_namespace)
    }

    pub fn codes_namespace(&self) -> String {
        self.codes_namespace.clone().unwrap_or_else(|| format!("{}-codes", self.namespace()))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn load(flags: &[&str]) -> Result<Settings, String> {
        let arguments = ["vdi-gateway"].iter().chain(flags).map(Into::into).collect();
        settings::parse(arguments, |_| None).map_err(|error| error.to_string())
    }

    #[test]
    fn every_setting_is_set_by_flag_environment_or_file_together_with_any_other() {
        let samples = [
            ("public-url", ["https://a.example.com", "https://b.example.com", "https://c.example.com"]),
            ("listen", ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]),
            ("tls-cert", ["a.crt", "b.crt", "c.crt"]),
            ("tls-key", ["a.key", "b.key", "c.key"]),
            ("max-connections", ["1", "2", "3"]),
            ("insecure-http", ["true", "false", "true"]),
            ("operations-listen", ["127.0.0.1:4", "127.0.0.1:5", "127.0.0.1:6"]),
            ("activity-token-file", ["a.token", "b.token", "c.token"]),
            ("activity-token-secret", ["a-token", "b-token", "c-token"]),
            ("login-keys-file", ["a.keys", "b.keys", "c.keys"]),
            ("login-keys-secret", ["a-keys", "b-keys", "c-keys"]),
            ("pod-cidr", ["10.1.0.0/16,fd01::/16", "10.2.0.0/16,fd02::/16", "10.3.0.0/16,fd03::/16"]),
            ("namespace", ["a", "b", "c"]),
            ("codes-namespace", ["a-codes", "b-codes", "c-codes"]),
            ("keys-secret", ["a-keys", "b-keys", "c-keys"]),
            ("key-rotation", ["1h", "2h", "3h"]),
            ("token-audience", ["a-audience", "b-audience", "c-audience"]),
            ("username-prefix", ["a:", "b:", "c:"]),
            ("oidc-issuer", ["https://a.example.com", "https://b.example.com", "https://c.example.com"]),
            ("oidc-client-id", ["a-client", "b-client", "c-client"]),
            ("oidc-client-secret-file", ["a.secret", "b.secret", "c.secret"]),
            ("oidc-ca", ["a.ca", "b.ca", "c.ca"]),
            ("oidc-email-verified-claim", ["a_verified", "b_verified", "c_verified"]),
            ("cache-limit", ["1m", "2m", "3m"]),
            ("drain", ["1s", "2s", "3s"]),
            ("log-format", ["text", "json", "text"]),
            ("log", ["debug", "info", "warn"]),
        ];
        let directory = tempfile::tempdir().unwrap();
        settings::check_every_way::<Settings>(&samples, &directory.path().join("config.yaml")).unwrap();
    }

    #[test]
    fn without_tls_only_loopback_is_served_unless_insecure_http_is_set() {
        let certificate = |flags: &[&str]| load(flags).unwrap().certificate().map(|files| files.is_some());
        assert!(certificate(&[]).is_err());
        assert!(!certificate(&["--listen=127.0.0.1:8443"]).unwrap());
        assert!(!certificate(&["--insecure-http"]).unwrap());
        assert!(certificate(&["--tls-cert=a", "--tls-key=b"]).unwrap());
        assert!(certificate(&["--tls-cert=a", "--tls-key=b", "--public-url=http://vdi.example.com"]).is_err());
        assert!(load(&["--tls-cert=a"]).is_err());
    }

    #[test]
    fn a_provider_must_use_tls_or_be_on_this_machine() {
        let issuer = |url: &str| load(&["--oidc-client-id=vdi", &format!("--oidc-issuer={url}")]);
        for url in ["https://login.example.com", "http://127.0.0.1:3000", "http://localhost:3000"] {
            assert!(issuer(url).is_ok(), "{url}");
        }
        for url in [
            "http://login.example.com",
            "http://localhost.example.com",
            "http://127.0.0.1@login.example.com",
            "ftp://localhost",
            "login",
        ] {
            assert!(issuer(url).is_err(), "{url}");
        }
        assert!(load(&["--oidc-issuer=https://login.example.com"]).is_err(), "which client?");
    }

    #[test]
    fn every_setting_is_in_the_docs() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/gateway.md");
        settings::check_docs(&Settings::command(), page.as_ref()).unwrap();
    }

    #[test]
    fn the_schema_of_the_settings_file_is_up_to_date() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/settings.schema.json");
        settings::check_schema(&Settings::command(), file.as_ref()).unwrap();
    }
}
