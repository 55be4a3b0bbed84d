//! Agents that need no code.

mod assistant;
mod dictation;
mod receptionist;

pub use assistant::{Assistant, AssistantOptions, WorkingHours};
pub use dictation::Dictation;
pub use receptionist::{Receptionist, ReceptionistOptions};
