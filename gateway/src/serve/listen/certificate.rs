//! The gateway's certificate, from files that may be replaced while it runs.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use axum_server::tls_rustls::RustlsConfig;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use vdi_service::{Need, certificate::lacking_names};

use crate::request::PublicUrl;

/// How often the files are checked. A mounted Secret takes a minute or two to reach its files anyway.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// How often they are checked while there is nothing to serve with.
const WAIT_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("{0} does not exist; create the TLS Secret")]
    Missing(PathBuf),
    #[error("{0} can't be read: {1}")]
    Read(PathBuf, io::Error),
    #[error("{0} has no PEM certificate")]
    NoCertificate(PathBuf),
    #[error("{0} has no PEM private key: {1}")]
    NoKey(PathBuf, rustls::pki_types::pem::Error),
    #[error("cannot use this certificate and key: {0}")]
    Tls(#[from] rustls::Error),
}

/// The content of the files.
#[derive(PartialEq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl CertificateFiles {
    /// Waits for the files, and reloads the returned configuration whenever they change. A certificate for other names
    /// than the gateway's is used nevertheless: there may be a proxy to which it is valid.
    pub async fn follow(self, public: &PublicUrl, need: Need) -> RustlsConfig {
        let (mut pem, config) = loop {
            match self.load(None, public).await {
                Ok(Some(loaded)) => break loaded,
                Ok(None) => {}
                Err(error) => need.lacks(&error.to_string()),
            }
            tokio::time::sleep(WAIT_INTERVAL).await;
        };
        need.is_met();
        let config = RustlsConfig::from_config(Arc::new(config));
        let (followed, public) = (config.clone(), public.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(CHECK_INTERVAL).await;
                match self.load(Some(&pem), &public).await {
                    Ok(None) => need.is_met(),
                    Ok(Some((now, config))) => {
                        pem = now;
                        followed.reload_from_config(Arc::new(config));
                        need.is_met();
                        tracing::info!("loaded a new certificate");
                    }
                    // Perhaps only one file has been replaced so far. The old certificate is still valid for a while.
                    Err(error) => need.lacks(&error.to_string()),
                }
            }
        });
        config
    }

    /// What the files say, unless it is what they said before.
    async fn load(
        &self,
        before: Option<&Pem>,
        public: &PublicUrl,
    ) -> Result<Option<(Pem, ServerConfig)>, CertificateError> {
        let now = self.read().await?;
        if before == Some(&now) {
            return Ok(None);
        }
        let config = self.parse(&now, public)?;
        Ok(Some((now, config)))
    }

    async fn read(&self) -> Result<Pem, CertificateError> {
        let read = async |path: &PathBuf| {
            tokio::fs::read(path).await.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => CertificateError::Missing(path.clone()),
                _ => CertificateError::Read(path.clone(), error),
            })
        };
        Ok(Pem { certificate: read(&self.certificate).await?, key: read(&self.key).await? })
    }

    fn parse(&self, pem: &Pem, public: &PublicUrl) -> Result<ServerConfig, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(&pem.certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| CertificateError::NoCertificate(self.certificate.clone()))?;
        let key = PrivateKeyDer::from_pem_slice(&pem.key);
        let key = key.map_err(|error| CertificateError::NoKey(self.key.clone(), error))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions()?.with_no_client_auth();
        let lacking = lacking_names(&chain[0], public.domain());
        let mut config = config.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if !lacking.is_empty() {
            let (file, names) = (self.certificate.display(), lacking.join(" and "));
            tracing::warn!(
                "{file} is not for {names}: browsers will warn; replace the certificate, or set --public-url"
            );
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use vdi_service::Needs;

    use super::*;

    fn files(certificate: &str, key: &str) -> (tempfile::TempDir, CertificateFiles) {
        let directory = tempfile::tempdir().unwrap();
        let files =
            CertificateFiles { certificate: directory.path().join("tls.crt"), key: directory.path().join("tls.key") };
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
        (directory, files)
    }

    fn pair() -> (String, String) {
        let pair = rcgen::generate_simple_self_signed(["vdi.localhost".to_owned()]).unwrap();
        (pair.cert.pem(), pair.signing_key.serialize_pem())
    }

    fn public() -> PublicUrl {
        "https://vdi.localhost".parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_replaced_certificate_is_used_from_then_on_and_an_invalid_one_is_not() {
        let (certificate, key) = pair();
        let (_directory, files) = files(&certificate, &key);
        let needs = Needs::default();
        let config = files.clone().follow(&public(), needs.announce("the certificate")).await;
        let first = config.get_inner();
        tokio::time::sleep(3 * CHECK_INTERVAL).await;
        assert!(Arc::ptr_eq(&first, &config.get_inner()), "nothing has changed");

        std::fs::write(&files.certificate, "spoilt").unwrap();
        while needs.troubles().is_empty() {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
        assert!(Arc::ptr_eq(&first, &config.get_inner()));

        let (certificate, key) = pair();
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
        while Arc::ptr_eq(&first, &config.get_inner()) {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
        assert!(needs.troubles().is_empty());
    }

    #[tokio::test]
    async fn an_error_says_what_is_wrong_with_the_files() {
        let (certificate, key) = pair();
        let error = async |files: &CertificateFiles| files.load(None, &public()).await.err().unwrap().to_string();
        let said = async |certificate: &str, key: &str| {
            let (_directory, files) = files(certificate, key);
            error(&files).await
        };
        assert!(said("", &key).await.ends_with("tls.crt has no PEM certificate"));
        assert!(said(&certificate, &certificate).await.contains("tls.key has no PEM private key"));
        assert!(said(&certificate, &pair().1).await.starts_with("cannot use this certificate and key"));
        let nowhere = CertificateFiles { certificate: "/nowhere".into(), key: "/nowhere".into() };
        assert_eq!(error(&nowhere).await, "/nowhere does not exist; create the TLS Secret");
    }
}
