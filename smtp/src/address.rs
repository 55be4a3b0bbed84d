//! Addresses and paths of RFC 5321.
