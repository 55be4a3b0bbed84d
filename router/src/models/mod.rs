//! Speech models: where they come from, and how they get to this machine.

mod mirror;

pub use mirror::{Mirror, Source};
