//! A million timers at once: they fire in the order of their times, none early, none lost.
//!
//! asyncio's `loop.call_later`, a million times. A core keeps its timers in one heap, and the
//! nearest is the timeout of the loop's one wait: there is no tick, and no wheel to turn.
//! Run it with `cargo run --release --example timers`; without `--release` it takes some seconds.
//! Another number of timers may stand behind it: `-- 1000`.
//!
//! check: 100000

use corering::flow::call_at;
use corering::time::{Instant, sleep};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// The timers are spread over so many microseconds.
const SPAN: u64 = 1_000_000;

#[derive(Default)]
struct Tally {
    fired: Cell<u64>,
    early: Cell<u64>,
    out_of_order: Cell<u64>,
    last: Cell<Option<Instant>>,
}

impl Tally {
    fn fire(&self, when: Instant) {
        self.fired.set(self.fired.get() + 1);
        if Instant::now() < when {
            self.early.set(self.early.get() + 1);
        }
        if self.last.replace(Some(when)) > Some(when) {
            self.out_of_order.set(self.out_of_order.get() + 1);
        }
    }
}

#[corering::main]
async fn main() {
    let timers = std::env::args()
        .nth(1)
        .map(|count| count.parse().expect("a number of timers"));
    let timers: u64 = timers.unwrap_or(1_000_000);
    let tally = Rc::new(Tally::default());
    let begin = Instant::now();
    let first = begin + Duration::from_millis(100);
    let mut cancelled = 0;
    for n in 0..timers {
        // A prime: so the times come in no order, and none comes twice in a million.
        let when = first + Duration::from_micros(n * 611_953 % SPAN);
        let tally = tally.clone();
        let call = call_at(when, move || tally.fire(when));
        if n % 10 == 0 {
            call.cancel();
            cancelled += 1;
        }
    }
    println!(
        "{timers} timers set in {} ms, {cancelled} of them cancelled",
        begin.elapsed().as_millis()
    );
    while tally.fired.get() < timers - cancelled {
        sleep(Duration::from_millis(10)).await;
    }
    let counts = [&tally.fired, &tally.early, &tally.out_of_order].map(Cell::get);
    println!(
        "fired: {}, early: {}, out of order: {}",
        counts[0], counts[1], counts[2]
    );
}
