//! Many runs, one for each seed, each on a thread of its own.

use super::{Faults, Sim};
use std::io::Write;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs `test` once for each seed, with [`Faults::swarm`] of that seed, and
/// [finishes](Sim::finish) each simulation. A seed that fails is printed with the command that
/// runs it alone, and its panic goes on. Run alone, it also prints its
/// [report](super::Control::report).
///
/// The environment replaces the range: `CORERING_SEED=17` runs one seed; `CORERING_SEEDS=1000`
/// as many, from the range's first, or from 500 on with `CORERING_SEEDS=1000@500`.
///
/// Each seed has a thread of its own, so that what the program keeps per thread begins anew.
///
/// A test that costs far more than others holds up a run of many seeds: it says so with
/// [`weighted_seeds`].
///
/// # Panics
/// As `test` does.
pub fn seeds(range: Range<u64>, test: impl Fn(&mut Sim) + Send + Sync) {
    weighted_seeds(1, range, test);
}

/// As [`seeds`], for a test of which one seed costs as much time as `weight` seeds of others: of
/// the seeds that `CORERING_SEEDS` asks for it runs the first in `weight`, and prints how many
/// those are. The range itself is not divided, nor is `CORERING_SEED`.
///
/// ```
/// // With `CORERING_SEEDS=1000@500` these would be the 50 seeds from 500 on.
/// corering::sim::weighted_seeds(20, 0..2, |sim| {
///     let host = sim.host("alone").boot(|_core| async {});
///     sim.block_on(&host, async { /* thousands of operations */ });
/// });
/// ```
///
/// # Panics
/// As `test` does, and if `weight` is 0.
pub fn weighted_seeds(weight: u64, range: Range<u64>, test: impl Fn(&mut Sim) + Send + Sync) {
    for seed in chosen(weight, range) {
        let run = || {
            let mut sim = Sim::with_faults(seed, Faults::swarm(seed));
            let result = catch_unwind(AssertUnwindSafe(|| test(&mut sim)));
            if let Err(panic) = result {
                if is_replay() {
                    eprintln!("{}", sim.report());
                }
                resume_unwind(panic);
            }
            sim.finish();
        };
        let failed = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name(format!("seed {seed}"));
            let thread = thread.spawn_scoped(scope, || catch_unwind(AssertUnwindSafe(run)));
            let thread = thread.expect("a simulation needs a thread");
            thread.join().unwrap_or_else(Err)
        });
        if let Err(panic) = failed {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("the_test");
            eprintln!(
                "the simulation failed with seed {seed}; to run it again:\n  \
                 CORERING_SEED={seed} cargo test --features sim {name} -- --exact --nocapture"
            );
            resume_unwind(panic);
        }
    }
}

fn is_replay() -> bool {
    std::env::var_os("CORERING_SEED").is_some()
}

fn chosen(weight: u64, range: Range<u64>) -> Range<u64> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let variable = |name: &str| std::env::var(name).ok();
    if let Some(seed) = variable("CORERING_SEED").as_deref().and_then(number) {
        return seed..seed + 1;
    }
    let Some(text) = variable("CORERING_SEEDS") else {
        return range;
    };
    let (count, first) = match text.split_once('@') {
        Some((count, first)) => (number(count), number(first)),
        None => (number(&text), Some(range.start)),
    };
    let (Some(count), Some(first)) = (count, first) else {
        panic!("CORERING_SEEDS is {text:?}: it must be a count, or count@first");
    };
    let some = count.div_ceil(weight);
    if some < count {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("a test");
        // Not to be captured with the test's own output.
        let told = format!("{name}: {some} seeds for {count}, one costs as much as {weight}\n");
        let _ = std::io::stderr().write_all(told.as_bytes());
    }
    first..first.saturating_add(some)
}
