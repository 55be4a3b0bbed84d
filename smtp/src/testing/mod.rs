//! Stand-ins that the tests and benchmarks of this and other crates share: a DNS server on loopback,
//! and signers with fixed keys.

pub mod dns;
pub mod sign;
