//! What a user of the simulation meets when something is wrong: the messages say what, and where.

#![cfg(feature = "sim")]

use corering::fs::{self, File};
use corering::net::{TcpListener, TcpStream};
use corering::sim::{Host, Sim};
use corering::time::sleep;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

/// The text with which this panics.
fn panic_of(act: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(act)).expect_err("it must not end well");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast::<&str>()
            .expect("a panic has a text")
            .to_string(),
    }
}

fn idle(sim: &mut Sim, name: &str) -> Host {
    sim.host(name).boot(|_core| async {})
}

#[test]
fn a_panic_of_a_spawned_future_fails_the_run() {
    let mut sim = Sim::new(1);
    let host = idle(&mut sim, "a");
    sim.spawn(&host, async {
        sleep(Duration::from_millis(1)).await;
        panic!("found something");
    });
    let text = panic_of(|| sim.run_for(Duration::from_secs(1)));
    assert_eq!(text, "found something");
    // The simulation can still be asked.
    assert!(sim.is_up(&host) && sim.report().contains("seed 1"));
}

#[test]
fn a_panic_of_the_programs_own_tasks_is_counted() {
    let mut sim = Sim::new(1);
    let host = sim.host("a").boot(|_core| async {
        drop(corering::spawn(async { panic!("nobody looks at it") }));
    });
    sim.run_for(Duration::from_secs(1));
    assert_eq!(sim.panicked_tasks(&host), 1);
    assert!(sim.report().contains("1 tasks have panicked"));
    sim.finish();
}

#[test]
fn a_host_that_dies_under_block_on_is_named() {
    let mut sim = Sim::new(1);
    let host = idle(&mut sim, "a");
    sim.kill_at(&host, 3);
    let text = panic_of(|| {
        sim.block_on(&host, async {
            for _ in 0..3 {
                let _ = fs::write("/file", b"some").await;
            }
        });
    });
    for part in ["\"a\" died", "`spawn` and `run_until`", "a: is down"] {
        assert!(text.contains(part), "{text}");
    }
    let text = panic_of(|| sim.spawn(&host, async {}));
    assert!(text.contains("`restart` it first"), "{text}");
}

#[test]
fn a_deadlock_says_what_is_waited_for() {
    let mut sim = Sim::new(1);
    let server = sim.host("server").boot(|_core| async {
        let listener = TcpListener::bind("0.0.0.0:7000").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.recv().await;
    });
    sim.run_for(Duration::from_secs(1));
    let text = panic_of(|| {
        sim.block_on(&server, async {
            let mut stream = TcpStream::connect("server:7000").await.unwrap();
            let _ = stream.recv().await;
        });
    });
    let address = server.address();
    for part in [
        "deadlock",
        "server/0: first future waits",
        &format!("on TCP {address}:7000 to {address}"),
        "what waits for the kernel",
    ] {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
}

#[test]
fn what_is_left_behind_is_named() {
    let mut sim = Sim::new(1);
    let host = idle(&mut sim, "a");
    let file = sim.block_on(&host, async { File::create("/left").await.unwrap() });
    let text = panic_of(|| sim.finish());
    assert!(
        text.contains("left behind") && text.contains("on /left"),
        "{text}"
    );
    drop(file);
}

/// A future may ask and order what a test may. What it orders comes after what happened before.
#[test]
fn futures_may_use_the_control() {
    let mut sim = Sim::new(1);
    let (boots, me) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(None::<Host>)));
    let (control, count, known) = (sim.control(), boots.clone(), me.clone());
    let host = sim.host("a").boot(move |_core| {
        count.set(count.get() + 1);
        let (control, known, boots) = (control.clone(), known.clone(), count.get());
        async move {
            sleep(Duration::from_millis(1)).await;
            let host = known.borrow().clone().expect("set by the test");
            assert!(control.is_up(&host));
            if boots == 1 {
                // It dies at the write of this very turn, and is started again after that.
                control.power_loss_at(&host, control.operations(&host) + 1);
                control.restart(&host);
                let _ = fs::write("/file", b"some").await;
                unreachable!("the power has failed");
            }
        }
    });
    me.replace(Some(host.clone()));
    sim.run_for(Duration::from_secs(1));
    assert!(sim.is_up(&host));
    assert_eq!(boots.get(), 2);
    sim.finish();
}

/// A handle that the test has taken out of a host may be dropped there: the host closes it.
#[test]
fn handles_may_be_dropped_outside() {
    let mut sim = Sim::new(1);
    let host = idle(&mut sim, "a");
    let file = sim.block_on(&host, async { File::create("/file").await.unwrap() });
    drop(file);
    sim.run_for(Duration::from_secs(1));
    sim.finish();
}
