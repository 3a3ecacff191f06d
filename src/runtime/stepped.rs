//! Cores that a simulation runs, turn by turn, all on one thread.

use super::core::{Core, CoreConfig, Running};
use super::handle::{Handle, Shared};
use crate::driver::buf_ring::{MESSAGE_HEAD_BYTES, PoolConfig};
use crate::driver::probe::Features;
use crate::driver::sim::{Watch, World};
use crate::driver::{self, Driver};
use crate::task::{self, TaskInfo};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// What a core runs first.
pub(crate) type Root = Pin<Box<dyn Future<Output = ()>>>;

/// The sizes of a simulated core: small ones find what large ones hide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) entries: u32,
    pub(crate) completions: u32,
    pub(crate) buffers: u16,
    pub(crate) buffer_len: u32,
    pub(crate) budget_polls: u32,
}

/// What is left of a core that has ended, which in order is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// Operations that had to be leaked.
    pub(crate) operations: usize,
    pub(crate) tasks: usize,
    pub(crate) timers: usize,
    /// Pieces of receive buffers that nobody has given back.
    pub(crate) pieces: u64,
}

/// One core of a simulated host.
pub(crate) struct Stepped {
    core: Option<Core>,
    watch: Watch,
    root: Option<Root>,
    world: World,
    host: usize,
    index: usize,
    /// It has had a turn, and lies down since.
    lies: bool,
    woken: bool,
}

/// The cores of one host.
pub(crate) fn build(
    world: &World,
    host: usize,
    cores: usize,
    sizes: Sizes,
    features: Features,
) -> (Vec<Stepped>, Handle) {
    let pool = PoolConfig {
        count: sizes.buffers,
        len: sizes.buffer_len,
    };
    let config = CoreConfig {
        driver: driver::Config {
            entries: sizes.entries,
            completions: sizes.completions,
            workers: [1, 1],
            incremental: pool,
            plain: pool,
            // A datagram of 64 KiB fits: a shorter buffer would cut it off.
            datagrams: PoolConfig {
                count: sizes.buffers,
                len: (64 << 10) + MESSAGE_HEAD_BYTES,
            },
            heap_receive_bytes_max: 64 << 20,
            zero_copy_bytes_max: 64 << 20,
            spin_nanos: 0,
            inline_files: false,
            restrict: None,
        },
        budget_polls: sizes.budget_polls,
        budget_micros: 500,
        grace: Duration::from_secs(5),
        hooks: task::Hooks {
            track: true,
            ..task::Hooks::default()
        },
    };
    let mut built: Vec<Core> = (0..cores)
        .map(|index| {
            let _here = world.on_host(host, index);
            let driver = Driver::simulated(config.driver, features);
            Core::with_driver(index, config.clone(), driver)
        })
        .collect();
    let shared = Arc::new(Shared::new(built.iter().map(Core::remote).collect()));
    for core in &mut built {
        core.join_runtime(shared.clone());
    }
    world.set_task_name(|| task::current_id().map_or(0, task::Id::number));
    let stepped = built.into_iter().enumerate().map(|(index, core)| Stepped {
        watch: core.watch(),
        core: Some(core),
        root: None,
        world: world.clone(),
        host,
        index,
        lies: false,
        woken: true,
    });
    (stepped.collect(), Handle::new(shared))
}

impl Stepped {
    /// Gives the core its first future. It is made on the core.
    pub(crate) fn begin(&mut self, make: impl FnOnce() -> Root) {
        let root = self.inside(make);
        self.root = Some(root);
        self.woken = true;
    }

    /// Calls `act` with this core as the thread's current one.
    pub(crate) fn inside<T>(&self, act: impl FnOnce() -> T) -> T {
        let _here = self.world.on_host(self.host, self.index);
        let _entered = self.core().enter();
        act()
    }

    fn core(&self) -> &Core {
        self.core.as_ref().expect("only the end takes the core")
    }

    /// Whether it would run although its kernel has nothing for it.
    pub(crate) fn has_work(&self) -> bool {
        self.core().has_work() || (self.root.is_some() && self.woken)
    }

    /// Whether its first future is done.
    pub(crate) fn is_done(&self) -> bool {
        self.root.is_none()
    }

    /// The live tasks, the oldest first; at most so many.
    pub(crate) fn list_tasks(&self, most: usize) -> Vec<TaskInfo> {
        self.inside(|| self.core().list_tasks(most))
    }

    pub(crate) fn live_tasks(&self) -> usize {
        self.core().live_tasks()
    }

    /// How many tasks have ended by a panic.
    pub(crate) fn panicked_tasks(&self) -> u64 {
        self.core().panicked_tasks()
    }

    pub(crate) fn timers(&self) -> usize {
        self.core().timers()
    }

    /// One turn of the loop: from the end of one sleep to the begin of the next.
    pub(crate) fn turn(&mut self) {
        let core = self.core.as_ref().expect("only the end takes the core");
        let _here = self.world.on_host(self.host, self.index);
        let _running = Running::begin();
        let _entered = core.enter();
        if self.lies {
            core.get_up();
            self.woken |= core.take_root_woken();
        }
        if self.woken {
            self.woken = false;
            if let Some(root) = &mut self.root {
                let waker = core.root_waker();
                let mut cx = Context::from_waker(&waker);
                if let Poll::Ready(()) = root.as_mut().poll(&mut cx) {
                    // Dropped here, where its destructor may use the core.
                    self.root = None;
                }
            }
        }
        core.lie_down();
        self.woken |= core.take_root_woken();
        self.lies = true;
        self.watch.look();
    }

    /// Drops all tasks, and closes the ring; what is left.
    pub(crate) fn end(&mut self) -> Left {
        let Some(core) = self.core.take() else {
            return Left::default();
        };
        let _here = self.world.on_host(self.host, self.index);
        {
            let _entered = core.enter();
            self.root = None;
        }
        let left = core.end_now();
        Left {
            pieces: self.watch.pieces(),
            ..left
        }
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        self.end();
    }
}
