//! The keys and certificates of the servers.

use rcgen::KeyPair;

use crate::certificates::Authority;
use crate::credentials::Credentials;
use crate::error::Error;
use crate::files::{Files, write_private};
use crate::services::SERVICES;

/// Writes the files that the flags in servers.rs name.
pub(crate) fn write(files: &Files, authority: &Authority, credentials: &Credentials) -> Result<(), Error> {
    let data = files.data();
    let write = |name: &str, contents: &str| write_private(&data.join(name), contents);
    write("ca.crt", &authority.certificate)?;
    let serving = authority.server(&[
        "127.0.0.1",
        "localhost",
        &SERVICES.kubernetes.to_string(),
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ])?;
    write("apiserver.crt", &serving.certificate)?;
    write("apiserver.key", &serving.key)?;
    let kubelet_client = authority.client("kube-apiserver-kubelet-client", "system:masters")?;
    write("kubelet-client.crt", &kubelet_client.certificate)?;
    write("kubelet-client.key", &kubelet_client.key)?;
    let signing = KeyPair::generate()
        .map_err(|source| Error::Certificate { subject: "service account tokens".into(), source })?;
    write("service-accounts.key", &signing.serialize_pem())?;
    write("service-accounts.pub", &signing.public_key_pem())?;
    write("tokens.csv", &credentials.token_file())?;
    write("audit-policy.yaml", include_str!("audit-policy.yaml"))
}
