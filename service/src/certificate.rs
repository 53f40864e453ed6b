//! Which names a certificate is for.

use rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName},
    server::ParsedCertificate,
};

/// Which of the domain and the names one label below it the certificate is not for, such as `*.vdi.example.com`.
pub fn lacking_names(certificate: &CertificateDer, domain: &str) -> Vec<String> {
    let parsed = ParsedCertificate::try_from(certificate);
    let is_for = |name: String| {
        let name = ServerName::try_from(name).ok();
        name.zip(parsed.as_ref().ok()).is_some_and(|(name, parsed)| verify_server_name(parsed, &name).is_ok())
    };
    // Nobody's desktop has this name, so only a wildcard covers it.
    let names = [(domain.to_owned(), domain.to_owned()), (format!("*.{domain}"), format!("any-desktop.{domain}"))];
    names.into_iter().filter(|(_, name)| !is_for(name.clone())).map(|(shown, _)| shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_for_the_domain_and_for_every_name_one_label_below_it() {
        for (names, lacking) in [
            (&["vdi.example.com", "*.vdi.example.com"][..], &[][..]),
            (&["vdi.example.com", "alice.vdi.example.com"], &["*.vdi.example.com"]),
            (&["*.vdi.example.com"], &["vdi.example.com"]),
            (&["*.example.com"], &["*.vdi.example.com"]),
            (&["vdi.example.org"], &["vdi.example.com", "*.vdi.example.com"]),
        ] {
            let names: Vec<_> = names.iter().map(|name| name.to_string()).collect();
            let pair = rcgen::generate_simple_self_signed(names.clone()).unwrap();
            assert_eq!(lacking_names(pair.cert.der(), "vdi.example.com"), lacking, "{names:?}");
        }
    }
}
