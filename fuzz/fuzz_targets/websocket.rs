//! What is heard of a client doesn't depend on how its bytes were cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use listener::Listener;
use vdi_api::Activity;

#[allow(dead_code)]
#[path = "../../gateway/src/activity/listener/mod.rs"]
mod listener;

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let whole = Listener::of(Activity::Auto).hears_input(bytes);
    let mut listener = Listener::of(Activity::Auto);
    let cut = bytes.chunks(usize::from(size).max(1)).fold(false, |heard, bytes| listener.hears_input(bytes) | heard);
    assert_eq!(whole, cut, "cut every {size} bytes");
});
