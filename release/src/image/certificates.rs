//! The certificate authorities that the programs trust: Mozilla's, from a crate, so that Cargo.lock says which.

use base64::{Engine, engine::general_purpose::STANDARD};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// The licence wants to be named wherever its data is passed on. Readers of PEM skip what is outside of the blocks.
const LICENCE: &str = "# Mozilla's root certificates, by the crate webpki-root-certs. CDLA-Permissive-2.0: \
                       https://cdla.dev/permissive-2-0\n";
/// What PEM's lines of 64 characters encode.
const BYTES_PER_LINE: usize = 48;

/// All of them, as PEM.
pub fn bundle() -> String {
    let mut pem = LICENCE.to_owned();
    for certificate in TLS_SERVER_ROOT_CERTS {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in certificate.chunks(BYTES_PER_LINE) {
            STANDARD.encode_string(line, &mut pem);
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{CertificateDer, pem::PemObject};

    use super::*;

    #[test]
    fn a_reader_of_pem_gets_the_certificates_back() {
        let pem = bundle();
        let read: Vec<CertificateDer> = CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect();
        assert!(read.len() > 100 && read == TLS_SERVER_ROOT_CERTS);
        assert!(pem.lines().skip(1).all(|line| line.len() <= 64));
    }
}
