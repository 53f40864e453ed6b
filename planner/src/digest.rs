//! Short names for long texts.

use sha2::{Digest, Sha256};

/// The first 16 hexadecimal digits of the text's SHA-256 digest: enough to tell names apart.
pub fn short(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..8])
}
