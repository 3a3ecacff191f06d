//! Tasks and time.

peer::measure_tasks!(crate::runtime, smol::channel, bounded);
