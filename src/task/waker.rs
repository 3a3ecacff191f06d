//! Wakers of tasks: which way a wake takes, and the hand-made vtable.
//!
//! Rules
//! 1. The waker that a poll gets is borrowed: no count is touched until it is cloned.
//! 2. A wake is local if the thread's current executor is the task's own. Only then may it read
//!    the task's `Cell`s.
//! 3. A waker is one counted reference ([`TaskRef`]) as a raw pointer.

use super::executor;
use super::raw::{Header, RawTask, TaskRef};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable, Waker};

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// The waker for a poll of `task`, valid while the poll lasts.
pub(super) fn borrowed(task: RawTask) -> ManuallyDrop<Waker> {
    let raw = RawWaker::new(task.as_ptr().cast_const().cast(), &VTABLE);
    // SAFETY: the functions below keep the contract of `RawWaker`; the reference that a waker owns
    // is never given back by this one, which is not dropped.
    ManuallyDrop::new(unsafe { Waker::from_raw(raw) })
}

/// A waker of a task, with this reference.
pub(super) fn of(task: TaskRef) -> Waker {
    let raw = RawWaker::new(task.into_raw().as_ptr().cast_const().cast(), &VTABLE);
    // SAFETY: the functions below keep the contract of `RawWaker`; the waker owns the reference.
    unsafe { Waker::from_raw(raw) }
}

/// The address of the task that a waker is of, if it is of one of ours.
pub(super) fn task_of(waker: &Waker) -> Option<*const ()> {
    std::ptr::eq(waker.vtable(), &VTABLE).then(|| waker.data())
}

/// Makes the task's core poll it, from any thread.
///
/// # Safety
/// The caller holds a reference of the task until this has returned.
pub(super) unsafe fn wake_task(task: RawTask) {
    if executor::wake_local(task) {
        return;
    }
    // SAFETY: the caller's reference keeps the task alive.
    let header = unsafe { task.header() };
    if header.enter_inbox() {
        // SAFETY: the caller's reference keeps the task alive.
        header.inbox().push(unsafe { TaskRef::new(task) });
    }
}

/// The task behind a waker's pointer.
///
/// # Safety
/// `data` came from [`borrowed`] or [`clone`].
unsafe fn task(data: *const ()) -> RawTask {
    // SAFETY: both made it from a `RawTask`, which is never null.
    RawTask::from_ptr(unsafe { NonNull::new_unchecked(data.cast::<Header>().cast_mut()) })
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: `data` is this waker's own pointer.
    let task = unsafe { task(data) };
    // SAFETY: the waker that is being cloned keeps the task alive.
    let task = unsafe { TaskRef::new(task) };
    RawWaker::new(task.into_raw().as_ptr().cast_const().cast(), &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: `data` is this waker's own pointer.
    let task = unsafe { task(data) };
    // SAFETY: the waker is consumed, so its reference is ours.
    let task = unsafe { TaskRef::from_raw(task) };
    // SAFETY: `task` lives until the end of this function.
    unsafe { wake_task(task.raw()) };
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: `data` is this waker's own pointer.
    let task = unsafe { task(data) };
    // SAFETY: the waker is borrowed for the call and keeps the task alive.
    unsafe { wake_task(task) };
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: `data` is this waker's own pointer.
    let task = unsafe { task(data) };
    // SAFETY: the waker is dropped, so its reference is ours to drop.
    drop(unsafe { TaskRef::from_raw(task) });
}
