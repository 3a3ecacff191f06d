//! Values that travel, and are dropped at home.

use super::*;
use crate::task::Affine;
use std::panic::AssertUnwindSafe;
use std::thread::{self, ThreadId};

/// Tells on which thread it is dropped.
struct Home(std::sync::mpsc::Sender<ThreadId>, Rc<()>);

impl Drop for Home {
    fn drop(&mut self) {
        self.0.send(thread::current().id()).unwrap();
    }
}

fn home() -> (Affine<Home>, std::sync::mpsc::Receiver<ThreadId>) {
    let (sender, receiver) = std::sync::mpsc::channel();
    (Affine::new(Home(sender, Rc::new(()))), receiver)
}

#[test]
fn used_and_dropped_at_home() {
    fn travels<T: Send + Sync>(_: &T) {}
    let (mut value, dropped) = home();
    travels(&value);
    assert_eq!(Rc::strong_count(&value.get_mut().1), 1);
    value.get_mut().1 = Rc::new(());
    drop(value);
    assert_eq!(dropped.recv(), Ok(thread::current().id()));
}

#[test]
fn elsewhere_it_panics_and_is_dropped_at_home() {
    let (executor, bell) = executor_and_bell();
    let entered = executor.enter();
    let (mut value, dropped) = home();
    drop(entered);
    let seen = thread::spawn(move || {
        let shown = format!("{:?}", value.is_home());
        let used =
            std::panic::catch_unwind(AssertUnwindSafe(|| Rc::strong_count(&value.get_mut().1)));
        let message = *used.unwrap_err().downcast::<String>().unwrap();
        (shown, message)
    });
    let (shown, message) = seen.join().unwrap();
    assert_eq!(shown, "false");
    assert!(message.contains("belongs to one core"), "{message}");
    assert!(dropped.try_recv().is_err(), "dropped on another thread");
    assert!(bell.0.load(Ordering::SeqCst) > 0, "the core was not told");
    run(&executor);
    assert_eq!(dropped.try_recv(), Ok(thread::current().id()));
}

#[test]
fn without_a_core_it_is_leaked() {
    let (value, dropped) = home();
    thread::spawn(move || drop(value)).join().unwrap();
    assert!(dropped.try_recv().is_err());
    let executor = executor();
    let entered = executor.enter();
    let (value, dropped) = home();
    drop(entered);
    executor.close();
    thread::spawn(move || drop(value)).join().unwrap();
    run(&executor);
    assert!(dropped.try_recv().is_err());
}

#[test]
fn what_was_shipped_to_a_core_that_ends_is_dropped_by_its_end() {
    let executor = executor();
    let entered = executor.enter();
    let (value, dropped) = home();
    drop(entered);
    thread::spawn(move || drop(value)).join().unwrap();
    executor.close();
    assert_eq!(dropped.try_recv(), Ok(thread::current().id()));
}

#[test]
fn a_panic_in_the_destructor_goes_no_further() {
    let value = Affine::new(OnDrop(|| panic!("the test says so")));
    drop(value);
}
