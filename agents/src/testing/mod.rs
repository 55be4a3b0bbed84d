//! Stand-ins that the tests, examples and benchmarks of this and other crates share: a language model that
//! does as it is told.

pub mod model_server;
