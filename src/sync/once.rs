//! One value from one task to another: the part that does not depend on whether its ends share a
//! lock ([`oneshot`](super::oneshot())) or a core ([`super::local::oneshot`]).
//!
//! Rules
//! 1. The sender's end is "sent" or "gone", once; the receiver's end is "closed", once.
//! 2. A value sent before the receiver closed can still be received after.

use std::task::Waker;

pub(in crate::sync) struct State<T> {
    pub(in crate::sync) value: Option<T>,
    /// The sender has sent or was dropped.
    pub(in crate::sync) sender_gone: bool,
    /// The receiver wants no value, or was dropped.
    pub(in crate::sync) closed: bool,
    /// The value was received.
    pub(in crate::sync) taken: bool,
    /// The receiver, if it waits.
    pub(in crate::sync) receiver: Option<Waker>,
    /// The sender, if it waits for the receiver to close.
    pub(in crate::sync) sender: Option<Waker>,
}

impl<T> State<T> {
    pub(in crate::sync) fn new() -> State<T> {
        State {
            value: None,
            sender_gone: false,
            closed: false,
            taken: false,
            receiver: None,
            sender: None,
        }
    }
}

/// Defines the two ends. `Shared<T>` stands in the same module, and its `state()` is a guard of the
/// [`State`]; `$pointer` is how the ends share it.
macro_rules! oneshot_ends {
    ($pointer:ident, $module:literal, $make:literal) => {
        fn ends<T>(shared: Shared<T>) -> (Sender<T>, Receiver<T>) {
            let shared = $pointer::new(shared);
            let sender = Sender {
                shared: shared.clone(),
            };
            let note = crate::task::Note::default();
            (sender, Receiver { shared, note })
        }

        impl<T> Shared<T> {
            /// What waits are called.
            const CLOSED: What = |_| Wait::of::<T>(concat!($module, "::Sender::closed"));
            const RECV: What = |_| Wait::of::<T>(concat!($module, "::Receiver"));

            fn close(&self) {
                let mut state = self.state();
                state.closed = true;
                let sender = state.sender.take();
                drop(state);
                if let Some(sender) = sender {
                    sender.wake();
                }
            }
        }

        /// Sends the one value.
        ///
        /// Dropping it without sending gives the receiver a [`RecvError`].
        ///
        /// # Examples
        /// ```
        #[doc = concat!("use corering::", $module, "::{self, Sender};")]
        ///
        #[doc = concat!("let (sender, receiver): (Sender<u32>, _) = oneshot::", $make, "();")]
        /// drop(receiver);
        /// assert!(sender.is_closed());
        /// assert_eq!(sender.send(1), Err(1));
        /// ```
        pub struct Sender<T> {
            shared: $pointer<Shared<T>>,
        }

        impl<T> Sender<T> {
            /// Sends the value. It never waits.
            ///
            /// # Errors
            /// The value, if the receiver is closed or gone.
            pub fn send(self, value: T) -> Result<(), T> {
                let mut state = self.shared.state();
                if state.closed {
                    return Err(value);
                }
                state.value = Some(value);
                // The drop of `self` wakes the receiver.
                Ok(())
            }

            /// Waits until the receiver is closed or gone.
            ///
            /// # Cancel safety
            /// Safe: nothing is consumed.
            pub async fn closed(&mut self) {
                let closed = std::future::poll_fn(|cx| self.poll_closed(cx));
                crate::task::noted(Shared::<T>::CLOSED, 0, closed).await;
            }

            /// Polls for the receiver to close; see [`closed`](Self::closed).
            pub fn poll_closed(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
                let mut state = self.shared.state();
                if state.closed {
                    return std::task::Poll::Ready(());
                }
                let old = waiters::register(&mut state.sender, cx.waker());
                drop(state);
                drop(old);
                std::task::Poll::Pending
            }

            /// Whether the receiver is closed or gone.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.shared.state().closed
            }
        }

        impl<T> Drop for Sender<T> {
            fn drop(&mut self) {
                let mut state = self.shared.state();
                state.sender_gone = true;
                let (receiver, own) = (state.receiver.take(), state.sender.take());
                drop(state);
                drop(own);
                if let Some(receiver) = receiver {
                    receiver.wake();
                }
            }
        }

        impl<T> std::fmt::Debug for Sender<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("Sender")
                    .field("closed", &self.is_closed())
                    .finish()
            }
        }

        /// Receives the one value: a future of it.
        ///
        /// # Cancel safety
        /// Safe: dropping a `&mut Receiver` that is being awaited loses nothing.
        ///
        /// # Panics
        /// When it is polled again after it has given the value.
        ///
        /// # Examples
        /// ```
        #[doc = concat!("use corering::", $module, "::{self, Receiver, TryRecvError};")]
        ///
        #[doc = concat!("let (sender, mut receiver): (_, Receiver<u32>) = oneshot::", $make, "();")]
        /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        /// sender.send(1).unwrap();
        /// assert_eq!(receiver.try_recv(), Ok(1));
        /// ```
        #[must_use = "futures do nothing unless awaited"]
        pub struct Receiver<T> {
            shared: $pointer<Shared<T>>,
            note: crate::task::Note,
        }

        impl<T> Receiver<T> {
            /// The value if it is there.
            ///
            /// # Errors
            /// `Empty`, or `Closed` if none will ever come or it was received already.
            pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
                let mut state = self.shared.state();
                match state.value.take() {
                    Some(value) => {
                        state.taken = true;
                        Ok(value)
                    }
                    None if state.sender_gone || state.closed => Err(TryRecvError::Closed),
                    None => Err(TryRecvError::Empty),
                }
            }

            /// Wants no value any more; one that was sent before can still be received.
            pub fn close(&mut self) {
                self.shared.close();
            }
        }

        impl<T> std::future::Future for Receiver<T> {
            type Output = Result<T, RecvError>;

            fn poll(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Self::Output> {
                let polled = self.poll_value(cx);
                self.note.follow(&polled, Shared::<T>::RECV, 0);
                polled
            }
        }

        impl<T> Receiver<T> {
            fn poll_value(
                &self,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<T, RecvError>> {
                let mut state = self.shared.state();
                if let Some(value) = state.value.take() {
                    state.taken = true;
                    return std::task::Poll::Ready(Ok(value));
                }
                if state.taken {
                    drop(state);
                    panic!("a oneshot receiver was polled after it gave the value: await it once");
                }
                if state.sender_gone || state.closed {
                    return std::task::Poll::Ready(Err(RecvError));
                }
                let old = waiters::register(&mut state.receiver, cx.waker());
                drop(state);
                drop(old);
                std::task::Poll::Pending
            }
        }

        impl<T> Drop for Receiver<T> {
            fn drop(&mut self) {
                self.shared.close();
                let mut state = self.shared.state();
                let left = (state.value.take(), state.receiver.take());
                drop(state);
                drop(left);
            }
        }

        impl<T> std::fmt::Debug for Receiver<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("Receiver").finish_non_exhaustive()
            }
        }
    };
}

pub(in crate::sync) use oneshot_ends;
