//! Callbacks with bound arguments: each is called when its task has ended, and the last one stops
//! the loop.
//!
//! asyncio's `task.add_done_callback(functools.partial(on_done, name))` and `loop.run_forever()`.
//! Run it with `cargo run --example callbacks`.

use corering::flow::call_when_done;
use corering::time::sleep;
use corering::{Handle, JoinError, Runtime};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

async fn cook(minutes: u64) -> Result<u64, &'static str> {
    sleep(Duration::from_millis(20 * minutes)).await;
    if minutes < 7 {
        Ok(minutes)
    } else {
        Err("it is burnt")
    }
}

/// What a task leaves: its own result, or that it panicked or was cancelled.
type Dish = Result<Result<u64, &'static str>, JoinError>;

/// `dish` and `open` are bound when the callback is made; `result` comes when the task ends.
fn on_done(dish: &str, open: &Cell<u32>, result: Dish) {
    match result {
        Ok(Ok(minutes)) => println!("{dish} after {minutes} minutes"),
        Ok(Err(why)) => println!("no {dish}: {why}"),
        Err(error) => println!("no {dish}: {error}"),
    }
    open.set(open.get() - 1);
    if open.get() == 0 {
        println!("the last one stops the loop");
        Handle::current().stop();
    }
}

fn main() -> Result<(), corering::BuildError> {
    let mut runtime = Runtime::new()?;
    runtime.block_on(async {
        let dishes = [("soup", 4), ("cake", 7), ("eggs", 2)];
        let open = Rc::new(Cell::new(dishes.len() as u32));
        for (dish, minutes) in dishes {
            let open = open.clone();
            let task = corering::spawn(cook(minutes));
            call_when_done(task, move |result| on_done(dish, &open, result));
        }
    });
    println!("the loop runs");
    runtime.run_forever();
    Ok(())
}
