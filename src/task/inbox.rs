//! What other threads may touch of a core: its inbox, and the bell that ends its sleep.
//!
//! Rules
//! 1. Pushing never waits for the owner and never allocates: woken tasks form a list through
//!    their own headers. Only a spawn from elsewhere takes a lock, for one `Vec::push`.
//! 2. The owner takes the whole list in one exchange, so there is no ABA: nobody pops.
//! 3. A list entry owns one reference of its task.
//! 4. Push first, then `unpark`. The loop says "sleeping" first, then asks `is_empty`. All four
//!    are sequentially consistent, so one of the two sees the other.
//! 5. Closing swaps in a mark that no push gets past; what was queued is dropped.
//!
//! ```text
//!   wake ----> head -> task -> task -> null   --take_woken--> oldest first
//!   spawn_on -> Vec<Start>                    --take_starts-> tasks of this core
//!   close ---> head = CLOSED, starts.closed
//! ```

use super::executor::{self, Executor};
use super::raw::{Header, TaskRef};
use crate::threads::{AtomicBool, AtomicPtr, AtomicUsize, Mutex, MutexGuard, Ordering};
use std::fmt;
use std::ptr;
use std::sync::{Arc, PoisonError};
use std::task::Wake;

/// Ends the sleep of a core's loop.
///
/// It is called from any thread, after something was put in the inbox; it must be cheap while the
/// loop is awake and harmless when the loop has ended.
pub(crate) trait Unpark: Send + Sync + 'static {
    /// Ends the sleep, or prevents the one that is about to begin.
    fn unpark(&self);
}

/// Something that begins on the owner core: a task sent there.
pub(super) type Start = Box<dyn FnOnce(&Executor) + Send>;

/// The part of a core that all threads see.
pub(super) struct Inbox {
    /// The newest woken task, null if none, or [`closed_mark`].
    head: AtomicPtr<Header>,
    /// Length of `starts.queue`, so that the owner need not lock to see that nothing came.
    starts_len: AtomicUsize,
    starts: Mutex<Starts>,
    /// Whether `block_on`'s own future was woken since it was last polled.
    root_woken: AtomicBool,
    unpark: Arc<dyn Unpark>,
    /// The core's number, for messages.
    core: usize,
}

struct Starts {
    queue: Vec<Start>,
    closed: bool,
}

/// The head of a closed inbox: an odd address, which no header has.
fn closed_mark() -> *mut Header {
    ptr::without_provenance_mut(1)
}

impl Inbox {
    pub(super) fn new(core: usize, unpark: Arc<dyn Unpark>) -> Inbox {
        Inbox {
            head: AtomicPtr::new(ptr::null_mut()),
            starts_len: AtomicUsize::new(0),
            starts: Mutex::new(Starts {
                queue: Vec::new(),
                closed: false,
            }),
            root_woken: AtomicBool::new(true),
            unpark,
            core,
        }
    }

    pub(super) fn core(&self) -> usize {
        self.core
    }

    /// Queues a woken task and ends the sleep; drops the reference if the core has ended.
    ///
    /// The caller keeps a reference of its own (or the `Arc`) for as long as this runs: the owner
    /// may take and free the pushed one at once.
    pub(super) fn push(&self, task: TaskRef) {
        let header = task.into_raw();
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            if head == closed_mark() {
                // SAFETY: `header` came from `into_raw` above and was not pushed.
                drop(unsafe { TaskRef::from_raw(header) });
                return;
            }
            // SAFETY: the reference in `header` is still ours, so the task lives.
            unsafe { header.header() }.set_inbox_next(head);
            let new = header.as_ptr();
            match self
                .head
                .compare_exchange_weak(head, new, Ordering::SeqCst, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        self.unpark.unpark();
    }

    /// Queues the start of a task and ends the sleep; gives it back if the core has ended.
    pub(super) fn push_start(&self, start: Start) -> Result<(), Start> {
        let mut starts = self.lock();
        if starts.closed {
            return Err(start);
        }
        starts.queue.push(start);
        self.starts_len.store(starts.queue.len(), Ordering::SeqCst);
        drop(starts);
        self.unpark.unpark();
        Ok(())
    }

    /// Whether nothing waits here. For the owner.
    pub(super) fn is_empty(&self) -> bool {
        let head = self.head.load(Ordering::SeqCst);
        (head.is_null() || head == closed_mark()) && self.starts_len.load(Ordering::SeqCst) == 0
    }

    pub(super) fn is_closed(&self) -> bool {
        self.head.load(Ordering::SeqCst) == closed_mark()
    }

    /// Takes every woken task. For the owner; an endless stream of wakes cannot hold it up.
    pub(super) fn take_woken(&self) -> Woken {
        let head = self.head.load(Ordering::Relaxed);
        if head.is_null() || head == closed_mark() {
            return Woken {
                next: ptr::null_mut(),
            };
        }
        Woken::oldest_first(self.head.swap(ptr::null_mut(), Ordering::SeqCst))
    }

    /// Takes every start. For the owner.
    pub(super) fn take_starts(&self) -> Vec<Start> {
        if self.starts_len.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        let mut starts = self.lock();
        self.starts_len.store(0, Ordering::SeqCst);
        std::mem::take(&mut starts.queue)
    }

    /// Takes nothing more; returns what was queued, for the caller to drop. For the owner.
    pub(super) fn close(&self) -> (Woken, Vec<Start>) {
        let head = self.head.swap(closed_mark(), Ordering::SeqCst);
        let head = if head == closed_mark() {
            ptr::null_mut()
        } else {
            head
        };
        let mut starts = self.lock();
        starts.closed = true;
        self.starts_len.store(0, Ordering::SeqCst);
        let queue = std::mem::take(&mut starts.queue);
        drop(starts);
        (Woken::oldest_first(head), queue)
    }

    /// Whether the root was woken since this was last asked. For the owner.
    pub(super) fn take_root_woken(&self) -> bool {
        self.root_woken() && self.root_woken.swap(false, Ordering::SeqCst)
    }

    pub(super) fn root_woken(&self) -> bool {
        self.root_woken.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Starts> {
        // Nothing panics while it is held; a poisoned queue is still a queue.
        self.starts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // The executor closes before it goes; this is for one that never could.
        drop(self.close());
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("core", &self.core)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// The waker of `block_on`'s own future.
impl Wake for Inbox {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Always an exchange, never a store: one that overwrote another thread's wake would hide
        // from the root what that thread had written before it.
        let already = self.root_woken.swap(true, Ordering::SeqCst);
        // On its own core the loop is awake: it is what called us.
        if !already && !executor::is_current(Arc::as_ptr(self)) && !self.is_closed() {
            self.unpark.unpark();
        }
    }
}

/// Woken tasks taken out of the inbox, the one that was woken first in front.
pub(super) struct Woken {
    /// A list through the headers that nobody else can reach any more.
    next: *mut Header,
}

impl Woken {
    /// Turns the list round: the inbox has its newest entry in front.
    fn oldest_first(mut head: *mut Header) -> Woken {
        let mut next = ptr::null_mut();
        while !head.is_null() {
            // SAFETY: the entry owns a reference of its task, so the header lives.
            let header = unsafe { &*head };
            let older = header.inbox_next();
            header.set_inbox_next(next);
            next = head;
            head = older;
        }
        Woken { next }
    }
}

impl Iterator for Woken {
    type Item = TaskRef;

    fn next(&mut self) -> Option<TaskRef> {
        let task = ptr::NonNull::new(self.next)?;
        // SAFETY: the entry owns a reference, which `push` took from an `into_raw`.
        let task = unsafe { TaskRef::from_raw(super::raw::RawTask::from_ptr(task)) };
        self.next = task.header().inbox_next();
        Some(task)
    }
}

impl Drop for Woken {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}
