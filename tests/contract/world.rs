//! Where a case runs: on the real ring, or on a host of a simulation.

pub(crate) use crate::harness::net::{listener, pair, pair_of};
use crate::harness::{Case, Census, Rng};
use corering::Metrics;
use corering::net::TcpStream;
use corering::time::{sleep, timeout};
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const MS: Duration = Duration::from_millis(1);

/// Seeds of a case in an ordinary run of the tests; scripts/sim runs more.
#[cfg(feature = "sim")]
const SEEDS: u64 = 20;

/// What a body is told.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// A directory of its own.
    pub(crate) dir: PathBuf,
    seed: u64,
    simulated: bool,
}

impl World {
    /// Rounds of a loop: many once, or few for each of many seeds.
    pub(crate) fn rounds(&self, real: u64, simulated: u64) -> u64 {
        if self.simulated { simulated } else { real }
    }

    pub(crate) fn rng(&self) -> Rng {
        Rng::from_seed(self.seed)
    }

    pub(crate) fn is_simulated(&self) -> bool {
        self.simulated
    }

    /// The process' descriptors, if those are the body's.
    pub(crate) fn census(&self) -> Option<Census> {
        (!self.simulated).then(Census::take)
    }

    /// Nothing was delivered that belonged to nobody; a simulation does that on purpose, and
    /// counts for itself.
    pub(crate) fn nothing_stale(&self) {
        assert!(self.simulated || Metrics::current().stale_completions == 0);
    }
}

/// Runs a body on the real ring, in a child process. `path` is the test's own.
pub(crate) fn real<F: Future<Output = ()>>(path: &'static str, body: impl FnOnce(World) -> F) {
    let (_, name) = path.split_once("::").expect("a path in this crate");
    Case::new(name).quarantine().seconds(120).run(|| {
        let name = name.replace("::", "-");
        let dir = std::env::temp_dir().join(format!("corering-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory for the case");
        let world = World {
            dir: dir.clone(),
            seed: Rng::new().next(),
            simulated: false,
        };
        corering::block_on(body(world));
        std::fs::remove_dir_all(&dir).expect("the case's own directory");
    });
}

/// Runs a body in the simulation, for many seeds, on a host of its own. Of the seeds that
/// scripts/sim asks for, a body that costs as much as `weight` others runs the first in `weight`.
#[cfg(feature = "sim")]
pub(crate) fn simulated<F>(weight: u64, body: impl Fn(World) -> F + Send + Sync)
where
    F: Future<Output = ()> + 'static,
{
    corering::sim::weighted_seeds(weight, 0..SEEDS, |sim| {
        let host = sim.host("here").boot(|_core| async {});
        let world = World {
            dir: PathBuf::from("/"),
            seed: sim.random(),
            simulated: true,
        };
        sim.block_on(&host, body(world));
    });
}

/// Makes two tests of each body of the module: on the real ring, and in the simulation, there with
/// the weight behind the name, if any.
macro_rules! both {
    (@weight) => { 1 };
    (@weight $weight:literal) => { $weight };
    ($($name:ident $(/ $weight:literal)?),* $(,)?) => {$(
        mod $name {
            #[test]
            fn real() {
                crate::world::real(concat!(module_path!(), "::real"), super::$name);
            }

            #[cfg(feature = "sim")]
            #[test]
            fn simulated() {
                crate::world::simulated(both!(@weight $($weight)?), super::$name);
            }
        }
    )*};
}

/// Ends a connection with a reset.
pub(crate) fn reset(stream: TcpStream) {
    stream.set_zero_linger().expect("set");
    drop(stream);
}

/// All operations have been given back.
pub(crate) async fn comes_to_rest() {
    for _ in 0..5_000 {
        if Metrics::current().in_flight == 0 {
            return;
        }
        sleep(MS).await;
    }
    let left = Metrics::current().in_flight;
    panic!("{left} operations are still in flight");
}

/// Nothing more is open than then.
pub(crate) async fn closes_come_to_an_end(then: &Census) {
    for _ in 0..500 {
        if then.added().is_empty() {
            return;
        }
        sleep(5 * MS).await;
    }
    panic!("descriptors were leaked: {:?}", then.added());
}

/// The output of what must end soon.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    let output = timeout(Duration::from_secs(30), future).await;
    output.expect("it ends soon")
}
