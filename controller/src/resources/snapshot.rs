//! What builders make, held to files beside them.

use serde::Serialize;

/// `UPDATE_SNAPSHOTS=1` writes the file instead.
pub fn assert(name: &str, object: &impl Serialize) {
    let path = format!("{}/src/resources/snapshots/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let yaml = serde_saphyr::to_string(object).unwrap();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &yaml).unwrap();
    }
    let snapshot = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(yaml == snapshot, "{path} differs; if that is meant, run with UPDATE_SNAPSHOTS=1:\n{yaml}");
}
