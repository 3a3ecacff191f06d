//! Files.

peer::file_loops!(crate::runtime, crate::disk);
