//! Any message is read as a report without harm, and what is kept of it is bounded and printable.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| frontdesk_smtp::bounce::fuzz(data));
