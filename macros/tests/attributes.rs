//! What the two attributes make of a function, against a runtime that only writes down its calls.

use std::cell::RefCell;

thread_local! {
    /// The builder calls of the runtime that was built last on this thread.
    static CALLS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Stands in for `corering`, by way of the option `crate`.
mod fake {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::CALLS;

    pub(crate) struct Runtime;

    pub(crate) struct Builder(Vec<String>);

    impl Runtime {
        pub(crate) fn builder() -> Builder {
            Builder(Vec::new())
        }

        pub(crate) fn block_on<F: Future>(&mut self, future: F) -> F::Output {
            match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(output) => output,
                Poll::Pending => panic!("these tests never wait"),
            }
        }
    }

    impl Builder {
        fn call(mut self, call: String) -> Self {
            self.0.push(call);
            self
        }

        pub(crate) fn cores(self, count: usize) -> Self {
            self.call(format!("cores {count}"))
        }

        pub(crate) fn all_cores(self) -> Self {
            self.call("all_cores".to_string())
        }

        pub(crate) fn pin(self, pin: bool) -> Self {
            self.call(format!("pin {pin}"))
        }

        pub(crate) fn name(self, name: impl Into<String>) -> Self {
            self.call(format!("name {}", name.into()))
        }

        pub(crate) fn build(self) -> Result<Runtime, String> {
            if self.0.iter().any(|call| call == "name broken") {
                return Err("io_uring is off: set the sysctl".to_string());
            }
            CALLS.with_borrow_mut(|calls| *calls = self.0);
            Ok(Runtime)
        }
    }
}

fn calls() -> Vec<String> {
    CALLS.with_borrow(Clone::clone)
}

#[corering_macros::test(crate = "crate::fake")]
async fn a_test_has_one_unpinned_core() {
    assert_eq!(calls(), ["cores 1", "pin false"]);
}

#[corering_macros::test(crate = "crate::fake", cores = 3, pin = true, name = "web")]
async fn every_option_reaches_the_builder() {
    assert_eq!(calls(), ["cores 3", "pin true", "name web"]);
}

#[corering_macros::test(crate = "crate::fake", cores = "all")]
async fn all_cores() {
    assert_eq!(calls(), ["all_cores", "pin false"]);
}

#[corering_macros::test(crate = "crate::fake")]
async fn a_result_may_be_returned() -> Result<(), std::num::ParseIntError> {
    let four: u32 = "4".parse()?;
    assert_eq!(four, 4);
    Ok(())
}

#[corering_macros::test(crate = "crate::fake")]
#[should_panic(expected = "seen")]
async fn should_panic_stays_on_the_test() {
    panic!("seen");
}

#[corering_macros::test(crate = "crate::fake")]
#[ignore = "must not run"]
async fn ignore_stays_on_the_test() {
    unreachable!("an ignored test was run");
}

#[corering_macros::test(crate = "crate::fake", name = "broken")]
#[should_panic(expected = "corering: cannot start: io_uring is off: set the sysctl")]
async fn a_failed_build_says_why() {}

mod inner {
    #[corering_macros::main(crate = "crate::fake")]
    pub(super) async fn start() -> Result<u32, String> {
        Ok(7)
    }
}

#[test]
fn main_keeps_name_visibility_and_return_type() {
    assert_eq!(inner::start(), Ok(7));
    assert!(
        calls().is_empty(),
        "main without options leaves all to the builder"
    );
}
