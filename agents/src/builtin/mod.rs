//! Agents that need no code.

mod receptionist;

pub use receptionist::{Receptionist, ReceptionistOptions};
