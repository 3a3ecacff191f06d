//! The timer store against an ordered map.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corering::fuzzing::timers(bytes));
