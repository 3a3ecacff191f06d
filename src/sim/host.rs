//! The machines of a simulation: their cores, their programs, their deaths.

use crate::driver::probe::Features;
use crate::driver::sim::World;
use crate::driver::sim::rng::Rng;
use crate::runtime::Handle;
use crate::runtime::stepped::{self, Left, Root, Sizes, Stepped};
use std::rc::Rc;

/// What a host runs on each core when it boots.
pub(super) type Boot = Rc<dyn Fn(usize) -> Root>;

/// One machine.
pub(super) struct Machine {
    pub(super) name: String,
    pub(super) boot: Boot,
    sizes: Sizes,
    features: Features,
    cores: usize,
    /// Its cores while it is up.
    pub(super) running: Vec<Stepped>,
    pub(super) handle: Option<Handle>,
    /// The world's numbers of its cores, in their order.
    pub(super) numbers: Vec<usize>,
}

impl Machine {
    pub(super) fn new(world: &World, name: &str, cores: usize, boot: Boot) -> Machine {
        let mut rng = Rng::new(world.random());
        Machine {
            name: name.to_owned(),
            boot,
            sizes: draw_sizes(&mut rng),
            features: world.draw_features(),
            cores,
            running: Vec::new(),
            handle: None,
            numbers: Vec::new(),
        }
    }

    /// Starts its program.
    pub(super) fn boot(&mut self, world: &World, host: usize) {
        let first = world.cores();
        let (mut running, handle) =
            stepped::build(world, host, self.cores, self.sizes, self.features);
        for (index, core) in running.iter_mut().enumerate() {
            let boot = self.boot.clone();
            core.begin(|| boot(index));
        }
        self.numbers = (first..first + self.cores).collect();
        self.running = running;
        self.handle = Some(handle);
    }

    /// Takes its cores away from it, to be [ended](end).
    pub(super) fn take_cores(&mut self) -> Vec<Stepped> {
        self.handle = None;
        self.numbers.clear();
        std::mem::take(&mut self.running)
    }

    pub(super) fn panicked_tasks(&self) -> u64 {
        self.running.iter().map(Stepped::panicked_tasks).sum()
    }

    pub(super) fn is_up(&self) -> bool {
        !self.running.is_empty()
    }
}

/// Ends cores in order; what is left of them, in words.
pub(super) fn end(mut cores: Vec<Stepped>) -> Vec<String> {
    let ended: Vec<Left> = cores.iter_mut().map(Stepped::end).collect();
    ended.into_iter().flat_map(in_words).collect()
}

fn in_words(left: Left) -> Vec<String> {
    let counts = [
        (left.operations, "operations had to be leaked"),
        (left.tasks, "tasks are still there"),
        (left.timers, "timers are still set"),
        (
            left.pieces as usize,
            "received pieces of its buffers were not given back",
        ),
    ];
    let some = counts.iter().filter(|(count, _)| *count > 0);
    some.map(|(count, what)| format!("{count} {what}"))
        .collect()
}

/// Queues and buffers of a host: small ones, which are often full, and ordinary ones.
fn draw_sizes(rng: &mut Rng) -> Sizes {
    let entries = 8 << rng.below(5);
    Sizes {
        entries,
        completions: entries << rng.below(3),
        buffers: 2 << rng.below(5),
        buffer_len: 256 << rng.below(7),
        budget_polls: 1 << rng.below(9),
    }
}
