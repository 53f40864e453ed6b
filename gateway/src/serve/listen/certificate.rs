//! The gateway's certificate, from files that may be replaced while it runs.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use axum_server::tls_rustls::RustlsConfig;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// How often the files are checked. A mounted Secret takes a minute or two to reach its files anyway.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("{0}: {1}")]
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
    /// Reads the files, and reloads the returned configuration whenever they change.
    pub async fn follow(self) -> Result<RustlsConfig, CertificateError> {
        let mut pem = self.read().await?;
        let config = RustlsConfig::from_config(Arc::new(self.parse(&pem)?));
        let followed = config.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(CHECK_INTERVAL).await;
                let parsed = match self.read().await {
                    Ok(now) if now == pem => continue,
                    Ok(now) => {
                        pem = now;
                        self.parse(&pem)
                    }
                    Err(error) => Err(error),
                };
                match parsed {
                    Ok(parsed) => {
                        followed.reload_from_config(Arc::new(parsed));
                        tracing::info!("loaded a new certificate");
                    }
                    // Perhaps only one file has been replaced so far. The old certificate is still valid for a while.
                    Err(error) => tracing::warn!(%error, "cannot load the new certificate; keeping the old one"),
                }
            }
        });
        Ok(config)
    }

    async fn read(&self) -> Result<Pem, CertificateError> {
        let read = async |path: &PathBuf| {
            tokio::fs::read(path).await.map_err(|error| CertificateError::Read(path.clone(), error))
        };
        Ok(Pem { certificate: read(&self.certificate).await?, key: read(&self.key).await? })
    }

    fn parse(&self, pem: &Pem) -> Result<ServerConfig, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(&pem.certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| CertificateError::NoCertificate(self.certificate.clone()))?;
        let key = PrivateKeyDer::from_pem_slice(&pem.key);
        let key = key.map_err(|error| CertificateError::NoKey(self.key.clone(), error))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions()?.with_no_client_auth();
        let mut config = config.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
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

    #[tokio::test(start_paused = true)]
    async fn a_replaced_certificate_is_used_from_then_on_and_an_invalid_one_is_not() {
        let (certificate, key) = pair();
        let (_directory, files) = files(&certificate, &key);
        let config = files.clone().follow().await.unwrap();
        let first = config.get_inner();
        tokio::time::sleep(3 * CHECK_INTERVAL).await;
        assert!(Arc::ptr_eq(&first, &config.get_inner()), "nothing has changed");

        std::fs::write(&files.certificate, "spoilt").unwrap();
        tokio::time::sleep(3 * CHECK_INTERVAL).await;
        assert!(Arc::ptr_eq(&first, &config.get_inner()));

        let (certificate, key) = pair();
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
        while Arc::ptr_eq(&first, &config.get_inner()) {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }

    #[tokio::test]
    async fn an_error_says_what_is_wrong_with_the_files() {
        let (certificate, key) = pair();
        let said = async |certificate: &str, key: &str| {
            let (_directory, files) = files(certificate, key);
            files.follow().await.err().unwrap().to_string()
        };
        assert!(said("", &key).await.ends_with("tls.crt has no PEM certificate"));
        assert!(said(&certificate, &certificate).await.contains("tls.key has no PEM private key"));
        assert!(said(&certificate, &pair().1).await.starts_with("cannot use this certificate and key"));
        let nowhere = CertificateFiles { certificate: "/nowhere".into(), key: "/nowhere".into() };
        assert!(nowhere.follow().await.err().unwrap().to_string().starts_with("/nowhere: No such file"));
    }
}
