//! Plain functions that the loop calls: soon, later, at a time; and in which order.
//!
//! asyncio's `loop.call_soon`, `loop.call_later`, `loop.call_at` and `handle.cancel()`.
//! Run it with `cargo run --example call_order`.

use corering::flow::{call_at, call_later, call_soon};
use corering::sync::oneshot;
use corering::time::Instant;
use std::time::Duration;

fn say(what: &str) {
    println!("{what}");
}

#[corering::main]
async fn main() {
    let now = Instant::now();
    let ms = Duration::from_millis;
    let (last, ended) = oneshot();

    call_at(now + ms(60), move || {
        say("call_at, 60 ms from now");
        last.send(()).expect("main waits for it");
    });
    call_later(ms(40), || say("call_later, 40 ms"));
    call_later(ms(20), || say("call_later, 20 ms"));
    let cancelled = call_later(ms(30), || say("this is never said"));
    call_soon(|| say("call_soon, the first"));
    call_soon(|| {
        say("call_soon, the second");
        // Behind all that are ready, not within this one.
        call_soon(|| say("call_soon, asked for by the second"));
    });
    call_soon(|| say("call_soon, the third"));
    cancelled.cancel();

    say("main goes first: it has not waited yet");
    ended.await.expect("the last call sends");
    say(&format!(
        "the cancelled one was called: {}",
        !cancelled.is_cancelled()
    ));
}
