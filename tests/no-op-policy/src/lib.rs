//! A policy that accepts everything without looking: what a waPC module costs at least.

use wapc_guest::register_function;

// waPC finds this function by its name. That is all there is to the attribute's unsafety: no other symbol may have it.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub extern "C" fn wapc_init() {
    register_function("validate", |_| Ok(br#"{"accepted":true}"#.to_vec()));
}
