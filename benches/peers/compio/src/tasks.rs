//! Tasks and time.

peer::measure_tasks!(crate::runtime, async_channel, bounded);
