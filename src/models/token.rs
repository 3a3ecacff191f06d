//! Requests to end: whoever waits is woken, whenever the request comes.

use super::tracked;
use crate::task::CancellationToken;
use loom::future::block_on;
use loom::thread;

/// A child is made and waited for, while its parent is cancelled.
#[test]
fn a_request_reaches_a_child_that_is_just_made() {
    super::model(|| {
        let parent = CancellationToken::new();
        let token = parent.clone();
        let thread = thread::spawn(move || {
            let child = token.child_token();
            drop(token);
            block_on(child.cancelled());
            assert!(child.is_cancelled());
        });
        parent.cancel();
        thread.join().unwrap();
    });
}

/// A child goes while its parent is cancelled, and a waiter gives up.
#[test]
fn a_child_that_goes_is_let_go() {
    super::model(|| {
        let parent = CancellationToken::new();
        let child = parent.child_token();
        let thread = thread::spawn(move || {
            let held = tracked();
            let ran = block_on(child.run_until_cancelled(async { drop(held) }));
            drop(child);
            ran.is_some()
        });
        parent.cancel();
        thread.join().unwrap();
        assert!(parent.is_cancelled() && parent.child_token().is_cancelled());
    });
}

/// A request is taken back, and another one comes, while somebody waits.
#[test]
fn a_request_after_one_that_was_taken_back_is_seen() {
    super::model(|| {
        let token = CancellationToken::new();
        let waits = token.clone();
        let thread = thread::spawn(move || {
            let held = tracked();
            block_on(waits.cancelled());
            drop(held);
        });
        token.cancel();
        token.uncancel();
        token.cancel();
        thread.join().unwrap();
        assert_eq!(token.cancelling(), 1);
    });
}
