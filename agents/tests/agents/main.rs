//! The store and the runtime as their users see them. One binary, so that SQLite is linked once.
mod accept;
mod desk;
mod runtime;
mod tasks;
