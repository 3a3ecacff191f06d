//! The two queues of a simulated ring, and `enter`: what the real ring's file does by system
//! calls.

use super::entry::Sqe;
use super::guard;
use super::memory;
use super::state::{Completion, Core, Event, Op, Phase, State};
use crate::driver::kernel::Wait;
use crate::driver::slot::Cqe;
use io_uring::opcode;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Completions that one `enter` runs, at most: as under `DEFER_TASKRUN`.
const DEFERRED_MAX: u64 = 20;

pub(super) const CQE_BUFFER: u32 = 1;
pub(super) const CQE_MORE: u32 = 1 << 1;
pub(super) const CQE_SOCK_NONEMPTY: u32 = 1 << 2;
pub(super) const CQE_NOTIF: u32 = 1 << 3;
pub(super) const CQE_BUF_MORE: u32 = 1 << 4;

const CANCEL_ANY: u32 = 1 << 2;

impl State {
    pub(super) fn open_core(
        &mut self,
        host: usize,
        index: usize,
        entries: usize,
        completions: usize,
    ) -> usize {
        self.cores.push(Core {
            host,
            index,
            entries,
            completions,
            submitted: VecDeque::new(),
            visible: VecDeque::new(),
            overflow: VecDeque::new(),
            ops: BTreeMap::new(),
            poked: BTreeSet::new(),
            buffers: BTreeMap::new(),
            sleeps: None,
            rung: std::sync::Arc::default(),
            not_before: 0,
            open: true,
            enters: 0,
            overflows: 0,
            last_ended: None,
            stale_taken: 0,
        });
        self.cores.len() - 1
    }

    /// Takes entries, runs what is deferred; the errno of a system call that failed.
    pub(super) fn enter(&mut self, core: usize) -> Result<(), i32> {
        self.cores[core].enters += 1;
        if self.roll(|faults| faults.enter_interrupted) {
            self.note(core, "enter: EINTR", 0, 0);
            return Err(libc::EINTR);
        }
        if self.roll(|faults| faults.enter_busy) {
            self.note(core, "enter: busy", 0, 0);
            let errno = [libc::EAGAIN, libc::EBUSY][self.rng.index(2)];
            return Err(errno);
        }
        let queued = self.cores[core].submitted.len();
        let taken = match queued > 1 && self.roll(|faults| faults.enter_partial) {
            true => self.rng.index(queued),
            false => queued,
        };
        let mut left = taken;
        while left > 0 {
            left -= self.submit_next(core).min(left);
            self.settle_at_once();
        }
        self.settle();
        self.run_deferred(core);
        self.settle();
        Ok(())
    }

    /// Takes the next entry, with the one that is linked to it; how many that were.
    fn submit_next(&mut self, core: usize) -> usize {
        let queue = &mut self.cores[core].submitted;
        let Some(sqe) = queue.pop_front() else {
            return 1;
        };
        let link = sqe.is_linked().then(|| queue.pop_front()).flatten();
        self.submit(core, sqe, link);
        1 + usize::from(link.is_some())
    }

    fn submit(&mut self, core: usize, sqe: Sqe, link: Option<Sqe>) {
        let host = self.cores[core].host;
        self.note(core, sqe.name(), sqe.fd.into(), sqe.user_data as i64);
        self.count_operation(host);
        let failure = match self.hosts[host].alive {
            true => self.dice.count(sqe.name()),
            false => Some(libc::ECANCELED),
        };
        match sqe.opcode {
            opcode::Nop::CODE => self.tell(core, &sqe, 0),
            opcode::AsyncCancel::CODE => self.cancel(core, &sqe),
            opcode::Close::CODE => {
                let closed = self.close_number(host, sqe.fd);
                self.tell(core, &sqe, closed.map_or_else(|errno| -errno, |()| 0));
            }
            _ => self.begin(core, sqe, link, failure),
        }
    }

    /// The host may die right here: what is submitted from now on reaches nothing.
    fn count_operation(&mut self, host: usize) {
        let this = &mut self.hosts[host];
        this.operations += 1;
        if let Some((_, how)) = this.dies_at.take_if(|(at, _)| *at == this.operations) {
            if this.alive {
                this.alive = false;
                self.died.push((host, how));
            }
        }
    }

    /// Tells the result of an operation that was over at once.
    fn tell(&mut self, core: usize, sqe: &Sqe, result: i32) {
        if sqe.tells(result) {
            self.post(core, sqe.user_data, result, 0);
        }
    }

    pub(super) fn close_number(&mut self, host: usize, number: i32) -> Result<(), i32> {
        let object = self.hosts[host].objects.remove(&number);
        object.map(|object| self.put(object)).ok_or(libc::EBADF)
    }

    fn begin(&mut self, core: usize, sqe: Sqe, link: Option<Sqe>, failure: Option<i32>) {
        let id = self.next_number();
        let lent = memory::lent(&sqe);
        guard::lend(&lent, sqe.name());
        let mut op = Op {
            sqe,
            files: Vec::new(),
            task: (self.who)(),
            since: self.now,
            phase: Phase::Socket,
            done: 0,
            lent,
            timeout: link.map(|link| link.user_data),
        };
        if let Some(link) = link {
            self.arm_timeout(core, id, &link);
        }
        let files = self.files_of(core, &op.sqe);
        let failure = match (failure, files) {
            (Some(errno), _) | (None, Err(errno)) => Some(errno),
            (None, Ok(files)) => {
                op.files = files;
                None
            }
        };
        if let Some(errno) = failure {
            return self.end(core, op, -errno, 0);
        }
        let on_pipe = op.sqe.moves_bytes() && op.files.iter().any(|file| file.pipe().is_some());
        if !op.sqe.waits_for_socket() && !on_pipe {
            return self.begin_work(core, id, op);
        }
        match op.files.first().and_then(|file| file.watched()) {
            Some(what) => self.watch(core, id, what),
            None => return self.end(core, op, -libc::ENOTSOCK, 0),
        }
        let op_must_not_wait = op.sqe.must_not_wait();
        self.cores[core].ops.insert(id, op);
        // The kernel tries at once, or leaves it to deferred work: both are legal.
        match op_must_not_wait || self.rng.chance(0.5) {
            true => self.run_op(core, id),
            false => drop(self.cores[core].poked.insert(id)),
        }
    }

    /// Runs some of what can go on, in an order of the seed's choice.
    fn run_deferred(&mut self, core: usize) {
        self.flush_overflow(core);
        if self.roll(|faults| faults.stale_completion) {
            if let Some(word) = self.cores[core].last_ended {
                self.post_one(core, word, [0, 0], true);
            }
        }
        let budget = self.rng.between(1, DEFERRED_MAX);
        for _ in 0..budget {
            let poked = &self.cores[core].poked;
            if poked.is_empty() {
                return;
            }
            let at = self.rng.index(poked.len());
            let chosen = *self.cores[core].poked.iter().nth(at).expect("counted");
            self.cores[core].poked.remove(&chosen);
            self.run_op(core, chosen);
            self.settle_at_once();
        }
    }

    fn flush_overflow(&mut self, core: usize) {
        let this = &mut self.cores[core];
        while this.visible.len() < this.completions {
            let Some(completion) = this.overflow.pop_front() else {
                return;
            };
            this.visible.push_back(completion);
        }
    }

    /// Whether the next completion will find no room in the queue.
    pub(super) fn is_full(&self, core: usize) -> bool {
        let this = &self.cores[core];
        this.visible.len() >= this.completions || !this.overflow.is_empty()
    }

    pub(super) fn post(&mut self, core: usize, user_data: u64, result: i32, flags: u32) {
        self.post_one(core, user_data, [result, flags as i32], false);
    }

    pub(super) fn post_one(
        &mut self,
        core: usize,
        user_data: u64,
        [result, flags]: [i32; 2],
        stale: bool,
    ) {
        self.idle_turns = 0;
        self.note(core, "  completes", result.into(), user_data as i64);
        let full = self.is_full(core);
        let this = &mut self.cores[core];
        if !this.open {
            return;
        }
        let cqe = Cqe {
            result,
            flags: flags as u32,
            buffer_at: 0,
        };
        let completion = Completion {
            user_data,
            cqe,
            stale,
        };
        if full {
            this.overflows += u64::from(this.overflow.is_empty());
            this.overflow.push_back(completion);
        } else {
            this.visible.push_back(completion);
        }
    }

    /// The last completion of an operation: it has given back what it borrowed.
    pub(super) fn end(&mut self, core: usize, op: Op, result: i32, flags: u32) {
        guard::give_back(&op.lent);
        for file in op.files {
            self.put(file);
        }
        if let Some(word) = op.timeout {
            self.post(core, word, -libc::ECANCELED, 0);
        }
        if op.sqe.tells(result) {
            self.cores[core].last_ended = Some(op.sqe.user_data);
            self.post(core, op.sqe.user_data, result, flags);
        }
    }

    /// Takes an operation that waits for a socket out of everything that knows it.
    pub(super) fn take_op(&mut self, core: usize, id: u64) -> Option<Op> {
        let op = self.cores[core].ops.remove(&id)?;
        self.cores[core].poked.remove(&id);
        if let Some(what) = op.files.first().and_then(|file| file.watched()) {
            self.unwatch(core, id, what);
        }
        Some(op)
    }

    /// `IORING_OP_ASYNC_CANCEL`: by the operation's word, or all of this ring.
    fn cancel(&mut self, core: usize, sqe: &Sqe) {
        let all = sqe.op_flags & CANCEL_ANY != 0;
        let target = sqe.addr;
        let same = |op: &Op| all || op.sqe.user_data == target;
        let found = self.cores[core].ops.iter().filter(|(_, op)| same(op));
        let found: Vec<u64> = found.map(|(&id, _)| id).collect();
        let mut cancelled = 0;
        let mut answer = -libc::ENOENT;
        let first = self.rng.chance(0.5);
        for id in found {
            let gone = self.cancel_one(core, id, !first);
            cancelled += i32::from(gone == 0);
            answer = gone;
        }
        let answer = if all { cancelled } else { answer };
        self.tell(core, sqe, answer);
        // The victims may be told before the canceller or after it.
        if first {
            self.tell_cancelled(core);
        }
    }

    /// Every legal outcome: cancelled; too late, and it completes as if nothing had been asked.
    fn cancel_one(&mut self, core: usize, id: u64, now: bool) -> i32 {
        let Some(op) = self.cores[core].ops.get(&id) else {
            return -libc::ENOENT;
        };
        match op.phase {
            Phase::Told(_) | Phase::Notification(_) => -libc::ENOENT,
            Phase::Worker if self.rng.chance(0.6) => -libc::EALREADY,
            Phase::Socket if self.cores[core].poked.contains(&id) && self.rng.chance(0.5) => {
                // What has arrived is taken first; a single operation is over then.
                self.run_op(core, id);
                match self.cores[core].ops.contains_key(&id) {
                    true => self.cancel_waiting(core, id, now),
                    false => -libc::ENOENT,
                }
            }
            Phase::Socket | Phase::Worker => self.cancel_waiting(core, id, now),
        }
    }

    fn cancel_waiting(&mut self, core: usize, id: u64, now: bool) -> i32 {
        let Some(op) = self.cores[core].ops.get_mut(&id) else {
            return -libc::ENOENT;
        };
        if matches!(op.phase, Phase::Notification(_)) {
            return -libc::EALREADY;
        }
        // A send that has sent something says how much.
        let result = match op.sqe.sends() {
            true if op.done > 0 => op.done as i32,
            _ => -libc::ECANCELED,
        };
        op.phase = Phase::Told(result);
        if now {
            self.run_op(core, id);
        }
        0
    }

    fn tell_cancelled(&mut self, core: usize) {
        let told = |op: &Op| matches!(op.phase, Phase::Told(_));
        let ops = self.cores[core].ops.iter().filter(|(_, op)| told(op));
        let ops: Vec<u64> = ops.map(|(&id, _)| id).collect();
        for id in ops {
            self.cores[core].poked.insert(id);
        }
    }

    fn arm_timeout(&mut self, core: usize, op: u64, link: &Sqe) {
        let [seconds, nanos]: [i64; 2] = memory::get(link.addr);
        let after = (seconds as u64).saturating_mul(1_000_000_000);
        let at = self.now.saturating_add(after.saturating_add(nanos as u64));
        self.at(at, Event::Timeout { core, op });
    }

    pub(super) fn timed_out(&mut self, core: usize, id: u64) {
        let Some(op) = self.cores[core].ops.get_mut(&id) else {
            return;
        };
        let Some(word) = op.timeout.take() else {
            return;
        };
        let waits = op.phase == Phase::Socket;
        self.post(core, word, -libc::ETIME, 0);
        if waits {
            self.cancel_waiting(core, id, false);
            self.cores[core].poked.insert(id);
        }
    }

    /// The program has closed the ring. The kernel goes on with what it has for a while: what is
    /// in flight may still write to the memory that it was lent.
    pub(super) fn close_core(&mut self, core: usize) {
        let this = &mut self.cores[core];
        this.open = false;
        this.sleeps = Some(Wait::Forever);
        this.submitted.clear();
        this.visible.clear();
        this.overflow.clear();
        let later = self.rng.between(0, 2_000_000);
        self.note(core, "ring closed", 0, 0);
        self.at(self.now + later, Event::RingGone { core });
    }

    pub(super) fn ring_gone(&mut self, core: usize) {
        let ids: Vec<u64> = self.cores[core].ops.keys().copied().collect();
        for id in ids {
            // A worker that runs goes on to its end; what waits for a socket is cancelled.
            let works = self.cores[core].ops[&id].phase == Phase::Worker;
            if !works || self.rng.chance(0.5) {
                if let Some(op) = self.take_op(core, id) {
                    self.end(core, op, -libc::ECANCELED, 0);
                }
            }
        }
        self.cores[core].buffers.clear();
    }
}
