//! jsonwebtoken's cryptography, by ring like everywhere here. Its default, RustCrypto, takes several times as long to
//! verify a signature, and every request has one.

use std::sync::LazyLock;

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey},
};
use signature::{Signer, Verifier};

/// Must be called before anything is signed or verified. Further calls do nothing.
pub fn install() {
    static INSTALLED: LazyLock<bool> = LazyLock::new(|| RING.install_default().is_ok());
    LazyLock::force(&INSTALLED);
}

static RING: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Es256Signer::of(*algorithm, key)?)),
    verifier_factory: |algorithm, key| Ok(Box::new(Es256Verifier::of(*algorithm, key)?)),
    // Only for JSON Web Keys, which are not parsed here.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Refuses all other algorithms.
fn es256(algorithm: Algorithm) -> Result<(), Error> {
    match algorithm {
        Algorithm::ES256 => Ok(()),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

struct Es256Signer(EcdsaKeyPair);

impl Es256Signer {
    fn of(algorithm: Algorithm, key: &EncodingKey) -> Result<Self, Error> {
        es256(algorithm)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_bytes(), &SystemRandom::new());
        Ok(Self(pair.map_err(|_| ErrorKind::InvalidEcdsaKey)?))
    }
}

impl Signer<Vec<u8>> for Es256Signer {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let signature = self.0.sign(&SystemRandom::new(), message).map_err(|_| signature::Error::new())?;
        Ok(signature.as_ref().to_vec())
    }
}

impl JwtSigner for Es256Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }
}

struct Es256Verifier(UnparsedPublicKey<Vec<u8>>);

impl Es256Verifier {
    fn of(algorithm: Algorithm, key: &DecodingKey) -> Result<Self, Error> {
        es256(algorithm)?;
        Ok(Self(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.try_get_as_bytes()?.to_vec())))
    }
}

impl Verifier<Vec<u8>> for Es256Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        self.0.verify(message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Es256Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }
}
