//! The attribute macros of `corering`.
