//! Whatever the guard passes, mail-parser parses within the structure that was counted.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| frontdesk_smtp::guard::fuzz(data));
