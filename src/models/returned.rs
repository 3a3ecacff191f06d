//! Receive buffers that come home from other threads: the owner finds them, or is woken.

use super::*;
use crate::driver::returned::Returned;
use loom::thread;

/// The owner waits for `threads` buffers, as it does for streams that found none.
fn buffers_come_home(threads: u16) {
    let core = Core::new();
    let returned = Arc::new(Returned::new(core.bell.clone()));
    let others: Vec<_> = (0..threads)
        .map(|bid| {
            let returned = returned.clone();
            thread::spawn(move || returned.push(bid))
        })
        .collect();
    returned.set_wanted(true);
    let mut home = returned.take();
    while home.len() < usize::from(threads) {
        core.sleep(|| returned.any());
        home.append(&mut returned.take());
    }
    home.sort_unstable();
    assert!(home.into_iter().eq(0..threads), "each comes home once");
    others.into_iter().for_each(|other| other.join().unwrap());
}

#[test]
fn a_buffer_that_is_wanted_ends_the_sleep() {
    model(|| buffers_come_home(1));
}

#[test]
fn buffers_of_two_threads_come_home_once() {
    model(|| buffers_come_home(2));
}
