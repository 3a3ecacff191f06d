//! One body, run on a real ring and in the simulation under many seeds.

use super::Case;
use corering::Runtime;
use std::future::Future;

/// Runs a body that depends neither on threads nor on real time. The simulated runs are not in the
/// child: they may be as many, and take as long, as `CORERING_SEEDS` asks for.
pub fn everywhere<F: Future<Output = ()> + 'static>(name: &'static str, body: fn() -> F) {
    Case::new(name).run(|| {
        // As in the simulation.
        let runtime = Runtime::builder().track_tasks(true).build();
        let mut runtime = runtime.expect("io_uring works here");
        runtime.block_on(body());
        assert_eq!(runtime.metrics().tasks, 0, "a task was left behind");
    });
    #[cfg(feature = "sim")]
    if !Case::is_child() {
        corering::sim::seeds(0..50, move |sim: &mut corering::sim::Sim| {
            let host = sim.host("alone").boot(|_core| async {});
            sim.block_on(&host, body());
        });
    }
}
