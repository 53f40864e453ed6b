//! Which input is detected does not depend on how a client's bytes are split.

#![no_main]

use input::InputDetector;
use libfuzzer_sys::fuzz_target;
use vdi_api::Activity;

#[allow(dead_code)]
#[path = "../../gateway/src/activity/input/mod.rs"]
mod input;

fuzz_target!(|data: (u8, &[u8])| {
    let (size, bytes) = data;
    let whole = InputDetector::of(Activity::Auto).detect(bytes);
    let mut detector = InputDetector::of(Activity::Auto);
    let split = bytes.chunks(usize::from(size).max(1)).fold(false, |found, bytes| detector.detect(bytes) | found);
    assert_eq!(whole, split, "split every {size} bytes");
});
