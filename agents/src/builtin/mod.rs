//! Agents that need no code.

mod dictation;
mod receptionist;

pub use dictation::Dictation;
pub use receptionist::{Receptionist, ReceptionistOptions};
