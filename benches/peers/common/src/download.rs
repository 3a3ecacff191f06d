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
