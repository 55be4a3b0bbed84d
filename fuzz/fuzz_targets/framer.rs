//! Lines and messages end where the definition says, however the input is cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| frontdesk_smtp::receive::fuzz::framer(data));
