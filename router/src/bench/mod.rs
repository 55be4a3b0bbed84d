//! Benchmarks of the running program, as `frontdesk bench` runs them.
