//! Two greetings whose waits overlap: both are done after 20 ms, not 40.

use corering::time::{Instant, sleep};
use std::time::Duration;

async fn greet(name: &str) {
    println!("hello, {name}");
    sleep(Duration::from_millis(20)).await;
    println!("goodbye, {name}");
}

fn main() {
    corering::block_on(async {
        let begin = Instant::now();
        let other = corering::spawn(greet("ring"));
        greet("core").await;
        other.await.expect("greet does not panic");
        println!("{} ms", begin.elapsed().as_millis());
    });
}
