//! A session survives any octets and answers with well-formed replies only.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| frontdesk_smtp::receive::fuzz::session(data));
