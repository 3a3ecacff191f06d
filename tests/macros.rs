//! `#[corering::main]` and `#[corering::test]`, as programs use them.

#![cfg(feature = "macros")]
#![allow(missing_docs, reason = "tests")]

use std::time::Duration;

#[corering::test]
async fn a_test_runs_on_one_core() {
    assert_eq!(corering::Handle::current().cores(), 1);
    assert_eq!(corering::core_id(), 0);
    corering::time::sleep(Duration::from_millis(1)).await;
}

#[corering::test(cores = 2)]
async fn a_test_runs_on_two_cores() {
    assert_eq!(corering::Handle::current().cores(), 2);
    let there = corering::spawn_on(1, || async { corering::core_id() });
    assert_eq!(there.await.expect("joined"), 1);
}

#[corering::test]
async fn a_test_may_return_a_result() -> Result<(), std::io::Error> {
    corering::spawn(async {}).await?;
    Ok(())
}

#[corering::test]
#[should_panic(expected = "as expected")]
async fn a_test_may_panic() {
    corering::task::yield_now().await;
    panic!("as expected");
}

#[corering::test(name = "mine", pin = false, cores = 2)]
async fn a_test_names_its_threads() {
    let name = corering::spawn_on(1, || async {
        std::thread::current().name().map(String::from)
    });
    assert_eq!(name.await.expect("joined").as_deref(), Some("mine-1"));
}

#[corering::main]
async fn program() -> u8 {
    corering::spawn(async { 42 }).await.expect("joined")
}

#[corering::main(cores = 2, pin = false)]
async fn program_of_two_cores() -> Result<usize, corering::JoinError> {
    corering::spawn_on(1, || async { corering::core_id() }).await
}

#[test]
fn main_is_an_ordinary_function() {
    assert_eq!(program(), 42);
    assert_eq!(program(), 42);
    assert_eq!(program_of_two_cores().expect("joined"), 1);
}

#[test]
#[should_panic(expected = "inside of a runtime")]
fn main_in_main_panics() {
    corering::block_on(async { program() });
}
