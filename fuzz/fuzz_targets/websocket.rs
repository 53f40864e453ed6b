//! What is heard of a client doesn't depend on how its bytes were cut.

#![no_main]

use activity::Listener;
use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../gateway/src/activity/mod.rs"]
mod activity;

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let whole = Listener::default().hears_input(bytes);
    let mut listener = Listener::default();
    let cut = bytes.chunks(usize::from(size).max(1)).fold(false, |heard, bytes| listener.hears_input(bytes) | heard);
    assert_eq!(whole, cut, "cut every {size} bytes");
});
