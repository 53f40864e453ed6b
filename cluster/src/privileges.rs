use std::os::unix::fs::MetadataExt;

/// Whether this process may create namespaces, mounts and bridges.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
