//! Address grammar.
