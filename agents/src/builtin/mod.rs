//! Agents that need no code.

mod assistant;
mod receptionist;

pub use assistant::{Assistant, AssistantOptions, WorkingHours};
pub use receptionist::{Receptionist, ReceptionistOptions};
