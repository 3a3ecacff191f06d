//! Many runs, one for each seed, each on a thread of its own.

use super::{Faults, Sim};
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
/// # Panics
/// As `test` does.
pub fn seeds(range: Range<u64>, test: impl Fn(&mut Sim) + Send + Sync) {
    for seed in chosen(range) {
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

fn chosen(range: Range<u64>) -> Range<u64> {
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
    match (count, first) {
        (Some(count), Some(first)) => first..first.saturating_add(count),
        _ => panic!("CORERING_SEEDS is {text:?}: it must be a count, or count@first"),
    }
}
