//! Mail on its way through: [`incoming`] turns an SMTP transaction into an arrival at the store,
//! [`outgoing`] turns a released draft into signed bytes for a transport.

pub mod delivery;
pub mod incoming;
pub mod outgoing;
