//! Tasks and time.

peer::measure_tasks!(crate::runtime, tokio::sync::mpsc, channel);
