//! Tasks and time.

peer::measure_tasks!(crate::runtime, corering::sync, channel);
