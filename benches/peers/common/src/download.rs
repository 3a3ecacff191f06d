//! The workload `download`: its cases, and a client for those that have none.
//!
//! The origin serves `/small/0` to `/small/1999` (100 KiB each) and `/large/0` to `/large/19`
//! (50 MiB each). The object of the number `N` is stored as the file `N` of the given folder; the
//! driver compares it with the original afterwards. Nobody writes to another name first.

mod wire;

use std::path::PathBuf;

use crate::{Case, Job};

pub use wire::{Wire, copy_some, head, request};

/// Every case; its name is the origin's folder.
pub const CASES: &[Case] = &[
    Case {
        name: "small",
        about: "2,000 objects of 100 KiB, 20 at a time, saved to files",
        operation: "object",
        cores: 1,
    },
    Case {
        name: "large",
        about: "20 objects of 50 MiB, 20 at a time, saved to files",
        operation: "object",
        cores: 1,
    },
];

/// How many objects a case has, and the size of each.
#[must_use]
pub fn objects(case: &Case) -> (usize, usize) {
    match case.name {
        "small" => (2_000, 100 << 10),
        _ => (20, 50 << 20),
    }
}

/// How many are fetched at a time.
pub const IN_FLIGHT: usize = 20;
/// How much of a body is gathered before it is written, by those who do that by hand.
pub const GATHER_BYTES: usize = 256 << 10;

/// What is to be fetched.
#[derive(Clone, Debug)]
pub struct Plan {
    case: &'static Case,
    dir: PathBuf,
    origin: String,
    /// How many objects.
    pub objects: usize,
}

impl Plan {
    /// That of a job.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        Self {
            case: job.case,
            dir: job.dir.clone(),
            origin: job.origin.clone(),
            objects: job.scaled(objects(job.case).0),
        }
    }

    /// Where an object is.
    #[must_use]
    pub fn url(&self, object: usize) -> String {
        format!("{}{}", self.origin, self.target(object))
    }

    /// The host and the port of the origin.
    #[must_use]
    pub fn host(&self) -> &str {
        self.origin.trim_start_matches("http://")
    }

    /// The path of an object on the origin.
    #[must_use]
    pub fn target(&self, object: usize) -> String {
        format!("/{}/{object}", self.case.name)
    }

    /// Where an object is stored.
    #[must_use]
    pub fn path(&self, object: usize) -> PathBuf {
        self.dir.join(object.to_string())
    }
}

/// Defines `measure`, which has 20 tasks fetch everything.
///
/// `$runtime` is the module of [`task_loops`](crate::task_loops);
/// `async fn $some(plan: Arc<Plan>, turns: Arc<Turns>) -> io::Result<()>` is one of the tasks.
#[macro_export]
macro_rules! download_loops {
    ($runtime:path, $some:path) => {
        use $runtime as of_runtime;

        pub(crate) fn measure(job: &$crate::Job) -> $crate::Measured {
            let plan = $crate::download::Plan::of(job);
            Ok(of_runtime::block_on(job, fetch(plan))??)
        }

        async fn fetch(plan: $crate::download::Plan) -> std::io::Result<$crate::Figures> {
            let objects = plan.objects;
            let plan = std::sync::Arc::new(plan);
            let turns = std::sync::Arc::new($crate::files::Turns::new(objects));
            let mut handles = Vec::new();
            let meter = $crate::Meter::begin();
            for _ in 0..$crate::download::IN_FLIGHT {
                handles.push(of_runtime::spawn($some(plan.clone(), turns.clone())));
            }
            for handle in handles {
                of_runtime::join(handle).await?;
            }
            Ok(meter.end(objects as u64))
        }
    };
}

/// Defines `measure` with [`copy_some`] as the tasks, for a runtime that takes buffers and gives
/// them back with the result: `write_all`, `read` and `write_all_at` return both.
///
/// `$runtime` is the module of [`task_loops`](crate::task_loops), then come its stream and its
/// file, and the method by which a buffer is read into from some byte on. The traits that these
/// methods need are in scope where it is called.
#[macro_export]
macro_rules! download_by_owned_buffers {
    ($runtime:path, $stream:ty, $file:ty, $unfilled:ident) => {
        $crate::download_loops!($runtime, some);

        async fn some(
            plan: std::sync::Arc<$crate::download::Plan>,
            turns: std::sync::Arc<$crate::files::Turns>,
        ) -> std::io::Result<()> {
            $crate::download::copy_some::<OfRuntime>(&plan, &turns).await
        }

        struct OfRuntime;

        impl $crate::download::Wire for OfRuntime {
            type Stream = $stream;
            type File = $file;

            async fn connect(origin: std::net::SocketAddr) -> std::io::Result<$stream> {
                <$stream>::connect(origin).await
            }

            async fn send(stream: &mut $stream, bytes: Vec<u8>) -> std::io::Result<()> {
                stream.write_all(bytes).await.0.map(drop)
            }

            async fn read(
                stream: &mut $stream,
                buf: Vec<u8>,
                from: usize,
            ) -> std::io::Result<(usize, Vec<u8>)> {
                let (read, slice) = stream.read(buf.$unfilled(from..)).await;
                Ok((read?, slice.into_inner()))
            }

            async fn create(path: std::path::PathBuf) -> std::io::Result<$file> {
                <$file>::create(path).await
            }

            async fn write(
                file: &$file,
                buf: Vec<u8>,
                part: std::ops::Range<usize>,
                offset: u64,
            ) -> std::io::Result<Vec<u8>> {
                let (written, slice) = file.write_all_at(buf.slice(part), offset).await;
                written?;
                Ok(slice.into_inner())
            }

            async fn close(file: $file) -> std::io::Result<()> {
                file.close().await
            }
        }
    };
}
