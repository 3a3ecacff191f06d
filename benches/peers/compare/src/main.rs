//! Runs the comparison and writes its tables.

fn main() {}
