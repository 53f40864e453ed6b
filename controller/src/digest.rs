use sha2::{Digest, Sha256};

/// 16 hexadecimal digits, for a name that follows from what it is of: 64 bits of SHA-256.
pub fn short(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
