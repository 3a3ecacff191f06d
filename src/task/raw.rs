//! One task in memory: the header that everybody shares, then the future or its output.
//!
//! Rules
//! 1. `refs` counts wakers, abort handles and inbox entries, from any thread; and *one* for the
//!    owner while any of the [`PRESENT`] bits is set. So the owner's three kinds of reference
//!    (live, queued, joined) cost no atomics.
//! 2. Everything in a `Cell`, and the body, belong to the owner thread. Another thread touches
//!    `refs`, `in_inbox`, `inbox_next` and the fields that never change.
//! 3. The body is empty when the owner's reference goes: whoever frees the memory, on whatever
//!    thread, runs no user code.
//! 4. `BUSY` is set while user code runs on the body: nobody polls or drops it a second time.
//!
//! ```text
//!   Header { refs, in_inbox, inbox_next | state, content, links, joiner | vtable, inbox, id }
//!   Body   { union: future | Result<output, JoinError> }       content: Future, Output, Empty
//! ```

use super::Id;
use super::blocks::{self, Blocks};
use super::error::{JoinError, Payload};
use super::executor;
use super::inbox::Inbox;
use super::join::Joiner;
use super::waker;
use crate::threads::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::alloc::Layout;
use std::any::type_name;
use std::cell::{Cell, UnsafeCell};
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::task::{Context, Poll};

/// Not finished: the executor's list of live tasks holds it.
pub(super) const LIVE: u8 = 1;
/// In the executor's ready queue.
pub(super) const QUEUED: u8 = 1 << 1;
/// A `JoinHandle` holds it.
pub(super) const JOINED: u8 = 1 << 2;
/// User code runs on the body: poll, or the drop of the future.
pub(super) const BUSY: u8 = 1 << 3;
/// The future is to be dropped at the task's next turn.
pub(super) const ABORT: u8 = 1 << 4;
/// The future is gone; the output is stored unless nobody wants it or it was taken.
pub(super) const DONE: u8 = 1 << 5;
/// The core's table of notes has an entry for it (`info.rs`).
pub(super) const NOTED: u8 = 1 << 6;
/// The owner's reasons to keep the task; together they own one of `refs`.
const PRESENT: u8 = LIVE | QUEUED | JOINED;

/// The head of every task, independent of the future's type.
pub(super) struct Header {
    /// Rule 1.
    refs: AtomicUsize,
    /// Woken from elsewhere and not yet taken by the owner; set for good when the task has ended,
    /// which makes late foreign wakes one exchange and no more.
    in_inbox: AtomicBool,
    /// The older entry of the inbox; written by the thread that set `in_inbox`, before its push.
    inbox_next: AtomicPtr<Header>,
    /// The bits above.
    pub(super) state: Cell<u8>,
    /// What the body holds; changed before a drop begins, so that no panic makes it lie.
    content: Cell<Content>,
    /// The next task of the ready queue.
    pub(super) ready_next: Cell<Option<RawTask>>,
    /// Neighbours in the list of live tasks.
    pub(super) live_next: Cell<Option<RawTask>>,
    pub(super) live_prev: Cell<Option<RawTask>>,
    /// Whom to tell when the task has ended.
    pub(super) joiner: Cell<Joiner>,
    /// The task's key in the `JoinSet` that `joiner` names.
    pub(super) set_key: Cell<u32>,
    vtable: &'static VTable,
    /// One strong reference of the core's `Arc<Inbox>`, given back when the memory is freed.
    inbox: NonNull<Inbox>,
    id: Id,
}

/// With the 32 bytes of a small future a task is 120 bytes: glibc's largest fast class. Above it,
/// spawn and join measured 64 ns instead of 39.
const _: () = assert!(size_of::<Header>() <= 88 || cfg!(loom));

#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Future,
    Output,
    Empty,
}

/// What a turn of a task came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Pending,
    /// The future is dropped and the output (or the cancellation) stored.
    Ended,
    /// As `Ended`; the output is a panic.
    Panicked,
}

/// The operations that need the future's type.
struct VTable {
    poll: unsafe fn(RawTask) -> Turn,
    cancel: unsafe fn(RawTask) -> Turn,
    take_output: unsafe fn(RawTask, NonNull<()>),
    drop_output: unsafe fn(RawTask),
    take_panic: unsafe fn(RawTask) -> Option<JoinError>,
    type_name: fn() -> &'static str,
    layout: Layout,
}

#[repr(C)]
struct Task<F: Future> {
    header: Header,
    body: UnsafeCell<Body<F>>,
}

/// `repr(C)`: both fields begin where the union begins.
#[repr(C)]
union Body<F: Future> {
    future: ManuallyDrop<F>,
    output: ManuallyDrop<Result<F::Output, JoinError>>,
}

/// A pointer to a task, which says nothing about who keeps it alive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct RawTask(NonNull<Header>);

impl RawTask {
    /// A new task with the owner's reference and the bits `LIVE | JOINED`; takes one strong
    /// reference of `inbox`.
    pub(super) fn new<F: Future>(
        future: F,
        inbox: NonNull<Inbox>,
        id: Id,
        blocks: &Blocks,
    ) -> RawTask {
        let header = Header {
            refs: AtomicUsize::new(1),
            in_inbox: AtomicBool::new(false),
            inbox_next: AtomicPtr::new(ptr::null_mut()),
            state: Cell::new(LIVE | JOINED),
            content: Cell::new(Content::Future),
            ready_next: Cell::new(None),
            live_next: Cell::new(None),
            live_prev: Cell::new(None),
            joiner: Cell::new(Joiner::NONE),
            set_key: Cell::new(0),
            vtable: vtable::<F>(),
            inbox,
            id,
        };
        let body = UnsafeCell::new(Body {
            future: ManuallyDrop::new(future),
        });
        let task = blocks.take(Layout::new::<Task<F>>()).cast::<Task<F>>();
        // SAFETY: the block has the layout of this type, and nobody else points to it.
        unsafe { task.write(Task { header, body }) };
        RawTask(task.cast())
    }

    pub(super) fn from_ptr(header: NonNull<Header>) -> RawTask {
        RawTask(header)
    }

    pub(super) fn as_ptr(self) -> *mut Header {
        self.0.as_ptr()
    }

    /// The header.
    ///
    /// # Safety
    /// The task lives for as long as the reference is used: the caller, or the queue it found the
    /// task in, holds a reference of it.
    pub(super) unsafe fn header<'a>(self) -> &'a Header {
        // SAFETY: the caller guarantees that the task lives.
        unsafe { self.0.as_ref() }
    }

    /// Polls the future once.
    ///
    /// # Safety
    /// On the owner thread; the task lives, is `BUSY` by the caller's hand, and is not `DONE`.
    pub(super) unsafe fn poll(self) -> Turn {
        // SAFETY: the caller guarantees that the task lives.
        let poll = unsafe { self.header() }.vtable.poll;
        // SAFETY: the function was made for this task's type; the rest is the caller's promise.
        unsafe { poll(self) }
    }

    /// Drops the future and stores the cancellation.
    ///
    /// # Safety
    /// As for [`poll`](Self::poll).
    pub(super) unsafe fn cancel(self) -> Turn {
        // SAFETY: the caller guarantees that the task lives.
        let cancel = unsafe { self.header() }.vtable.cancel;
        // SAFETY: the function was made for this task's type; the rest is the caller's promise.
        unsafe { cancel(self) }
    }

    /// Takes the output; `None` if it was taken before.
    ///
    /// # Safety
    /// On the owner thread; the task lives, is `DONE`, and its future's output is `T`.
    pub(super) unsafe fn take_output<T>(self) -> Option<Result<T, JoinError>> {
        // SAFETY: the caller guarantees that the task lives.
        let header = unsafe { self.header() };
        if header.content.get() != Content::Output {
            return None;
        }
        header.content.set(Content::Empty);
        let mut output: Option<Result<T, JoinError>> = None;
        // SAFETY: the content was an output until the line above; the pointer is to an `Option` of
        // the type that the caller vouches for.
        unsafe { (header.vtable.take_output)(self, NonNull::from(&mut output).cast()) };
        output
    }

    /// Drops the output if there is one. A panic of its destructor ends here.
    ///
    /// # Safety
    /// On the owner thread; the task lives and is `DONE`, or is ending.
    pub(super) unsafe fn drop_output(self) {
        // SAFETY: the caller guarantees that the task lives.
        let header = unsafe { self.header() };
        if header.content.get() == Content::Output {
            header.content.set(Content::Empty);
            // SAFETY: the content was an output until the line above.
            unsafe { (header.vtable.drop_output)(self) };
        }
    }

    /// Takes the output if it is a panic that nobody has taken.
    ///
    /// # Safety
    /// On the owner thread; the task lives and is `DONE`, or is ending.
    pub(super) unsafe fn take_panic(self) -> Option<JoinError> {
        // SAFETY: the caller guarantees that the task lives.
        let header = unsafe { self.header() };
        if header.content.get() != Content::Output {
            return None;
        }
        // SAFETY: the content is an output; the function was made for this task's type.
        let panic = unsafe { (header.vtable.take_panic)(self) };
        if panic.is_some() {
            header.content.set(Content::Empty);
        }
        panic
    }

    /// Takes back some of the owner's reasons to keep the task, and with the last of them the
    /// owner's reference.
    ///
    /// # Safety
    /// On the owner thread; the bits were set, and the task is not used on their behalf any more.
    pub(super) unsafe fn leave(self, bits: u8) {
        // SAFETY: the bits that are about to be cleared keep the task alive.
        let state = &unsafe { self.header() }.state;
        debug_assert_eq!(state.get() & bits, bits, "a reference was given back twice");
        state.set(state.get() & !bits);
        if state.get() & PRESENT == 0 {
            // SAFETY: the bits owned this reference together, and the last of them is gone.
            drop(unsafe { TaskRef::from_raw(self) });
        }
    }
}

impl Header {
    pub(super) fn id(&self) -> Id {
        self.id
    }

    /// Whether the task has an output that nobody has taken.
    pub(super) fn has_output(&self) -> bool {
        self.content.get() == Content::Output
    }

    /// The type of the task's future.
    pub(super) fn type_name(&self) -> &'static str {
        (self.vtable.type_name)()
    }

    /// The inbox of the task's core, which the task keeps alive.
    pub(super) fn inbox(&self) -> &Inbox {
        // SAFETY: the task owns a strong reference of the inbox until it is freed.
        unsafe { self.inbox.as_ref() }
    }

    pub(super) fn is(&self, bit: u8) -> bool {
        self.state.get() & bit != 0
    }

    pub(super) fn set(&self, bit: u8) {
        self.state.set(self.state.get() | bit);
    }

    pub(super) fn clear(&self, bit: u8) {
        self.state.set(self.state.get() & !bit);
    }

    /// Claims the push into the inbox; false if the task is there already.
    ///
    /// An exchange in either case: a wake that finds the flag set still passes on, to the poll
    /// that the flag stands for, what its thread wrote before.
    pub(super) fn enter_inbox(&self) -> bool {
        !self.in_inbox.swap(true, Ordering::AcqRel)
    }

    /// Lets later wakes push again; an exchange, to see what the wakes so far have written.
    pub(super) fn leave_inbox(&self) {
        self.in_inbox.swap(false, Ordering::AcqRel);
    }

    /// Makes all later foreign wakes do nothing.
    pub(super) fn refuse_wakes(&self) {
        self.in_inbox.store(true, Ordering::Relaxed);
    }

    pub(super) fn inbox_next(&self) -> *mut Header {
        self.inbox_next.load(Ordering::Relaxed)
    }

    pub(super) fn set_inbox_next(&self, next: *mut Header) {
        self.inbox_next.store(next, Ordering::Relaxed);
    }
}

/// One counted reference of a task, which any thread may hold.
pub(super) struct TaskRef(RawTask);

// No `Send` here: abort handles hold it too, and they stay. Wakers and the inbox carry it as a
// raw pointer, and use only what rule 2 allows.

impl TaskRef {
    /// A new reference.
    ///
    /// # Safety
    /// The task lives.
    pub(super) unsafe fn new(task: RawTask) -> TaskRef {
        // SAFETY: the caller guarantees that the task lives.
        let old = unsafe { task.header() }
            .refs
            .fetch_add(1, Ordering::Relaxed);
        if old > isize::MAX as usize {
            // Only forgetting wakers in a loop gets here; going on would free a task in use.
            process::abort();
        }
        TaskRef(task)
    }

    /// Takes over a reference that is counted already.
    ///
    /// # Safety
    /// The reference is the caller's to give, once.
    pub(super) unsafe fn from_raw(task: RawTask) -> TaskRef {
        TaskRef(task)
    }

    /// Gives the reference to the caller, uncounted by any type.
    pub(super) fn into_raw(self) -> RawTask {
        ManuallyDrop::new(self).0
    }

    pub(super) fn raw(&self) -> RawTask {
        self.0
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: this reference keeps the task alive.
        unsafe { self.0.header() }
    }
}

impl Clone for TaskRef {
    fn clone(&self) -> TaskRef {
        // SAFETY: this reference keeps the task alive.
        unsafe { TaskRef::new(self.0) }
    }
}

impl Drop for TaskRef {
    #[inline]
    fn drop(&mut self) {
        let refs = &self.header().refs;
        // If ours is the only one, nobody can make another: no exchange is needed.
        if refs.load(Ordering::Acquire) == 1 || refs.fetch_sub(1, Ordering::AcqRel) == 1 {
            free(self.0);
        }
    }
}

/// Frees the memory of a task whose last reference has just gone.
fn free(task: RawTask) {
    // SAFETY: the memory stands until the end of this function.
    let header = unsafe { task.header() };
    let inbox = header.inbox;
    let layout = header.vtable.layout;
    // SAFETY: the last reference is gone, and the body is empty (rule 3): the header is all.
    unsafe { ptr::drop_in_place(task.as_ptr()) };
    let block = task.0.cast();
    // SAFETY: the block was allocated with this layout, and this is its last use.
    if !unsafe { executor::take_back(block, layout, inbox) } {
        // SAFETY: as above; the core did not take it.
        unsafe { blocks::release(block, layout) };
        // SAFETY: the task owned this strong reference, and the task is gone.
        unsafe { Arc::decrement_strong_count(inbox.as_ptr()) };
    }
}

/// The functions of tasks that run `F`.
fn vtable<F: Future>() -> &'static VTable {
    const {
        &VTable {
            poll: poll::<F>,
            cancel: cancel::<F>,
            take_output: take_output::<F>,
            drop_output: drop_output::<F>,
            take_panic: take_panic::<F>,
            type_name: type_name::<F>,
            layout: Layout::new::<Task<F>>(),
        }
    }
}

/// The body of a task, for the functions below.
///
/// # Safety
/// The task lives and runs `F`.
unsafe fn body<F: Future>(task: RawTask) -> *mut Body<F> {
    let task = task.as_ptr().cast::<Task<F>>();
    // SAFETY: the pointer is to a `Task<F>` that lives; no reference is made.
    UnsafeCell::raw_get(unsafe { &raw const (*task).body })
}

/// [`RawTask::poll`].
unsafe fn poll<F: Future>(task: RawTask) -> Turn {
    // SAFETY: the caller guarantees that the task lives and runs `F`.
    let body = unsafe { body::<F>(task) };
    let result = catch_unwind(AssertUnwindSafe(|| {
        let waker = waker::borrowed(task);
        // SAFETY: the task is not `DONE`, so the body is the future, and it is `BUSY`, so nobody
        // else touches it.
        let future = unsafe { &mut *body.cast::<F>() };
        // SAFETY: the future stays in its block until it is dropped there.
        let future = unsafe { Pin::new_unchecked(future) };
        future.poll(&mut Context::from_waker(&waker))
    }));
    let output = match result {
        Ok(Poll::Pending) => return Turn::Pending,
        Ok(Poll::Ready(output)) => Ok(output),
        Err(payload) => Err(payload),
    };
    // SAFETY: the caller's promise, and the poll has returned.
    let dropped = unsafe { drop_future::<F>(task) };
    let output = match (output, dropped) {
        (Ok(output), Ok(())) => Ok(output),
        (Ok(output), Err(payload)) => {
            drop_caught(output);
            Err(payload)
        }
        (Err(first), dropped) => {
            drop_caught(dropped);
            Err(first)
        }
    };
    let turn = if output.is_ok() {
        Turn::Ended
    } else {
        Turn::Panicked
    };
    // SAFETY: the caller guarantees that the task lives and runs `F`.
    let id = unsafe { task.header() }.id;
    // SAFETY: the future has been dropped, so the body is empty.
    unsafe {
        store::<F>(
            task,
            output.map_err(|payload| JoinError::panic(id, payload)),
        )
    };
    turn
}

/// [`RawTask::cancel`].
unsafe fn cancel<F: Future>(task: RawTask) -> Turn {
    // SAFETY: the caller guarantees that the task lives.
    let id = unsafe { task.header() }.id;
    // SAFETY: the caller's promise, word for word.
    let (error, turn) = match unsafe { drop_future::<F>(task) } {
        Ok(()) => (JoinError::cancelled(id), Turn::Ended),
        Err(payload) => (JoinError::panic(id, payload), Turn::Panicked),
    };
    // SAFETY: the future has been dropped, so the body is empty.
    unsafe { store::<F>(task, Err(error)) };
    turn
}

/// Drops the future where it lies; what its destructor panics with is returned.
///
/// # Safety
/// On the owner thread; the task runs `F`, is `BUSY` by the caller's hand, and holds its future.
unsafe fn drop_future<F: Future>(task: RawTask) -> Result<(), Payload> {
    // SAFETY: the caller guarantees that the task lives.
    let content = unsafe { &task.header().content };
    debug_assert!(
        content.get() == Content::Future,
        "a future was dropped twice"
    );
    content.set(Content::Empty);
    if !std::mem::needs_drop::<F>() {
        return Ok(());
    }
    // SAFETY: the caller guarantees that the task lives and runs `F`.
    let body = unsafe { body::<F>(task) }.cast::<F>();
    catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the body was the future until `content` was set above, so it is dropped once.
        unsafe { ptr::drop_in_place(body) }
    }))
}

/// Puts the output where the future was.
///
/// # Safety
/// On the owner thread; the task runs `F` and its body is empty.
unsafe fn store<F: Future>(task: RawTask, output: Result<F::Output, JoinError>) {
    // SAFETY: the caller guarantees that the task lives and runs `F`.
    let body = unsafe { body::<F>(task) };
    // SAFETY: the body is empty and large enough for either.
    unsafe { body.cast::<Result<F::Output, JoinError>>().write(output) };
    // SAFETY: the caller guarantees that the task lives.
    unsafe { task.header() }.content.set(Content::Output);
}

/// Moves the output into the `Option<Result<F::Output, JoinError>>` behind `to`.
unsafe fn take_output<F: Future>(task: RawTask, to: NonNull<()>) {
    // SAFETY: the caller guarantees that the task lives and runs `F`.
    let body = unsafe { body::<F>(task) }.cast::<Result<F::Output, JoinError>>();
    // SAFETY: the body was an output, and the caller has marked it as taken.
    let output = unsafe { body.read() };
    // SAFETY: `to` points to such an `Option`, which is `None`.
    unsafe {
        to.cast::<Option<Result<F::Output, JoinError>>>()
            .write(Some(output))
    };
}

/// Drops the output; a panic of its destructor ends here.
unsafe fn drop_output<F: Future>(task: RawTask) {
    // SAFETY: the caller guarantees that the task lives and runs `F`.
    let body = unsafe { body::<F>(task) }.cast::<Result<F::Output, JoinError>>();
    let dropped = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the body was an output, and the caller has marked it as gone.
        unsafe { ptr::drop_in_place(body) }
    }));
    drop_caught(dropped);
}

/// Moves the output out if it is a panic; the caller then marks it as gone.
unsafe fn take_panic<F: Future>(task: RawTask) -> Option<JoinError> {
    // SAFETY: the caller guarantees that the task lives and runs `F`.
    let body = unsafe { body::<F>(task) }.cast::<Result<F::Output, JoinError>>();
    // SAFETY: the body is an output, and nobody else looks at it meanwhile.
    let is_panic = matches!(unsafe { &*body }, Err(error) if error.is_panic());
    if !is_panic {
        return None;
    }
    // SAFETY: the body is an output, which the caller does not use again.
    unsafe { body.read() }.err()
}

/// Drops a value; a panic of its destructor is dropped too, and if even that panics, leaked.
pub(super) fn drop_caught<T>(value: T) {
    if !std::mem::needs_drop::<T>() {
        return;
    }
    let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) else {
        return;
    };
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        let _leaked = ManuallyDrop::new(second);
    }
}
