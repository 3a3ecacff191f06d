//! corering.
