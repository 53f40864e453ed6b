//! The cluster's own certificate authority.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::error::Error;

/// Issues the certificates of one cluster's servers, and of clients that authenticate with one. It lives as long as the cluster
/// and is kept in memory.
pub(crate) struct Authority {
    /// PEM.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both as PEM.
pub(crate) struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Result<Self, Error> {
        let subject = "vdiwarden local cluster";
        let create = || {
            let mut params = CertificateParams::new([])?;
            params.distinguished_name.push(DnType::CommonName, subject);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
            let key = KeyPair::generate()?;
            let certificate = params.self_signed(&key)?.pem();
            Ok(Self { certificate, issuer: Issuer::new(params, key) })
        };
        create().map_err(|source| Error::Certificate { subject: subject.into(), source })
    }

    /// For a server with these names or IP addresses.
    pub fn server(&self, names: &[&str]) -> Result<Identity, Error> {
        let names: Vec<_> = names.iter().map(|name| name.to_string()).collect();
        let subject = names.join(", ");
        CertificateParams::new(names)
            .and_then(|mut params| {
                params.distinguished_name.push(DnType::CommonName, &subject);
                self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
            })
            .map_err(|source| Error::Certificate { subject, source })
    }

    /// For a client that Kubernetes authenticates as this user and group.
    /// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates
    pub fn client(&self, user: &str, group: &str) -> Result<Identity, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        params.distinguished_name.push(DnType::OrganizationName, group);
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
            .map_err(|source| Error::Certificate { subject: user.into(), source })
    }

    fn sign(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Result<Identity, rcgen::Error> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }
}
