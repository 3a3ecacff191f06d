//! The driver's side of receive buffers: made at the first use, and shared out when they run dry.

use super::bell::Bell;
use super::buf_ring::{Group, MESSAGE_HEAD_BYTES, Pool};
use super::kernel::{self, Kernel};
use super::probe::Features;
use super::{Config, Driver, PoolState, bump, starved};
use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Makes the buffers of one group and registers them, as far as the kernel can.
pub(super) fn make_pool(
    kernel: &Kernel,
    group: Group,
    features: Features,
    config: Config,
    bell: &Arc<Bell>,
) -> PoolState {
    if !features.buffer_ring {
        return PoolState::Refused;
    }
    let incremental = features.incremental && group == Group::Streams;
    let config = match group {
        Group::Datagrams => config.datagrams,
        Group::Streams if incremental => config.incremental,
        Group::Streams => config.plain,
    };
    let register =
        |address, entries| kernel.register_buffers(address, entries, group.id(), incremental);
    Pool::new(config, group, incremental, bell.clone(), register)
        .map_or(PoolState::Refused, PoolState::Here)
}

impl Driver {
    /// The core's receive buffers of a group, made at the first use; `None` where the kernel has
    /// none.
    pub(crate) fn with_pool<T>(&self, group: Group, act: impl FnOnce(&Pool) -> T) -> Option<T> {
        let pool = self.pool(group);
        let first_use = matches!(&*pool.borrow(), PoolState::NotYet);
        if first_use {
            let made = match self.0.state.borrow().kernel.as_ref() {
                Some(kernel) => {
                    make_pool(kernel, group, self.0.features, self.0.config, &self.0.bell)
                }
                None => PoolState::Refused,
            };
            pool.replace(made);
        }
        match &*pool.borrow() {
            PoolState::Here(pool) => Some(act(pool)),
            _ => None,
        }
    }

    pub(super) fn pool(&self, group: Group) -> &RefCell<PoolState> {
        &self.0.pools[usize::from(group.id())]
    }

    /// How long a datagram may be to fit into a receive buffer for certain.
    pub(crate) fn datagram_len_max(&self) -> usize {
        (self.0.config.datagrams.len - MESSAGE_HEAD_BYTES) as usize
    }

    pub(super) fn buffers_came_back(&self) -> bool {
        match &*self.pool(Group::Streams).borrow() {
            PoolState::Here(pool) => pool.any_returned(),
            _ => false,
        }
    }

    pub(super) fn serve_starved(&self) {
        if self.buffers_came_back() {
            // Taken in at once: as long as they lie there, the loop does not sleep.
            self.with_pool(Group::Streams, Pool::available);
        }
        if self.0.starved.borrow().is_empty() {
            return;
        }
        let available = self.with_pool(Group::Streams, Pool::available).unwrap_or(0);
        let wakers = self.0.starved.borrow_mut().serve(available, kernel::now());
        wakers.into_iter().for_each(|waker| self.wake(waker));
        let wanted = !self.0.starved.borrow().is_empty();
        self.with_pool(Group::Streams, |pool| pool.set_wanted(wanted));
    }

    /// Waits in line for receive buffers; see [`starved`].
    pub(crate) fn poll_buffers(
        &self,
        place: &mut starved::Place,
        cx: &mut Context<'_>,
    ) -> Poll<starved::Turn> {
        if !place.is_in_line() {
            bump(&self.0.counters.starved);
            self.with_pool(Group::Streams, |pool| pool.set_wanted(true));
        }
        let waker = cx.waker().clone();
        let (turn, unneeded) = {
            let mut starved = self.0.starved.borrow_mut();
            starved.poll(place, waker, kernel::now())
        };
        drop(unneeded);
        turn
    }

    /// Leaves the line.
    pub(crate) fn leave_line(&self, place: &mut starved::Place) {
        let unneeded = self.0.starved.borrow_mut().leave(place);
        drop(unneeded);
    }
}
