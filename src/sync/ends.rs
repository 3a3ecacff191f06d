//! The two ends of a queue of values: the part of [`channel`](super::channel()) and of
//! [`local::mpsc`](super::local::mpsc) that does not depend on how they share it. What they do to
//! it stands in `chan`.

/// Defines `Sender`, its permits and `Receiver`. `$shared<T>` is what they share, by `$pointer`;
/// `$module` is where programs find them, and `$bound` what a value that is sent must be.
macro_rules! channel_ends {
    ($pointer:ident, $shared:ident, $module:literal $(, $bound:ident)?) => {
        fn ends<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
            let shared = $pointer::new($shared::new(capacity));
            let sender = Sender {
                shared: shared.clone(),
            };
            let note = crate::task::Note::default();
            let receiver = Receiver {
                shared,
                taken: Default::default(),
                note,
            };
            (sender, receiver)
        }

        /// Sends values into a [`channel`]. Clones send into the same one.
        ///
        /// # Examples
        /// ```
        #[doc = concat!("use ", $module, "::{Sender, channel};")]
        ///
        /// let (sender, mut receiver) = channel(1);
        /// let other: Sender<u32> = sender.clone();
        /// other.try_send(1).unwrap();
        /// assert!(sender.try_send(2).is_err());
        /// assert_eq!(receiver.try_recv(), Ok(1));
        /// ```
        pub struct Sender<T> {
            shared: $pointer<$shared<T>>,
        }

        impl<T $(: $bound)?> Sender<T> {
            /// Sends a value, and waits for room if there is none. Waiting senders go in turn.
            ///
            /// # Errors
            /// The value, if the receiver has closed the channel or was dropped.
            ///
            /// # Cancel safety
            /// Dropping it before it completes drops the value, which was then not sent, and leaves
            /// its place in the line. To keep the value, wait for room with
            /// [`reserve`](Self::reserve).
            pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
                chan::send(&*self.shared, value).await
            }

            /// Sends a value if there is room.
            ///
            /// # Errors
            /// The value, if the channel is full (or senders wait already), or closed.
            pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
                chan::try_send(&*self.shared, value)
            }

            /// Waits for room for one value, and keeps it for the permit. Waiting senders go in
            /// turn.
            ///
            /// With a limit on the time it is `timeout(limit, sender.reserve())`, and no value is
            /// lost.
            ///
            /// # Errors
            /// If the receiver has closed the channel or was dropped.
            ///
            /// # Cancel safety
            /// Safe: no room is lost, only the place in the line.
            ///
            /// # Examples
            /// ```
            /// # futures::executor::block_on(async {
            #[doc = concat!("let (sender, mut receiver) = ", $module, "::channel(1);")]
            /// let room = sender.reserve().await.unwrap();
            /// assert!(sender.try_send("no room").is_err());
            /// room.send("made when there was room");
            /// assert_eq!(receiver.recv().await, Some("made when there was room"));
            /// # });
            /// ```
            pub async fn reserve(&self) -> Result<SendPermit<'_, T>, SendError<()>> {
                chan::reserve(&*self.shared).await?;
                Ok(SendPermit {
                    shared: Some(&self.shared),
                })
            }

            /// As [`reserve`](Self::reserve), with a permit that can be moved into a task. It uses
            /// up this sender, which comes back from the permit.
            ///
            /// # Errors
            /// If the receiver has closed the channel or was dropped.
            ///
            /// # Cancel safety
            /// No room is lost, but this sender is dropped: clone it if it is needed.
            pub async fn reserve_owned(self) -> Result<OwnedSendPermit<T>, SendError<()>> {
                chan::reserve(&*self.shared).await?;
                Ok(OwnedSendPermit { sender: Some(self) })
            }

            /// Keeps room for one value if there is some.
            ///
            /// # Errors
            /// If the channel is full (or senders wait already), or closed.
            pub fn try_reserve(&self) -> Result<SendPermit<'_, T>, TrySendError<()>> {
                chan::try_reserve(&*self.shared)?;
                Ok(SendPermit {
                    shared: Some(&self.shared),
                })
            }

            /// As [`try_reserve`](Self::try_reserve), with a permit that can be moved into a task.
            ///
            /// # Errors
            /// This sender, if the channel is full (or senders wait already), or closed.
            pub fn try_reserve_owned(self) -> Result<OwnedSendPermit<T>, TrySendError<Self>> {
                match chan::try_reserve(&*self.shared) {
                    Ok(()) => Ok(OwnedSendPermit { sender: Some(self) }),
                    Err(TrySendError::Full(())) => Err(TrySendError::Full(self)),
                    Err(TrySendError::Closed(())) => Err(TrySendError::Closed(self)),
                }
            }
        }

        impl<T> Sender<T> {
            /// Waits until the receiver has closed the channel or was dropped.
            ///
            /// # Cancel safety
            /// Safe: nothing is consumed.
            pub async fn closed(&self) {
                chan::closed(&*self.shared).await;
            }

            /// Whether the receiver has closed the channel or was dropped.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.shared.with(|state| state.is_closed())
            }

            /// Whether `other` sends into the same channel.
            #[must_use]
            pub fn same_channel(&self, other: &Sender<T>) -> bool {
                $pointer::ptr_eq(&self.shared, &other.shared)
            }

            /// How many senders the channel has.
            #[must_use]
            pub fn strong_count(&self) -> usize {
                self.shared.with(|state| state.senders())
            }
        }

        impl<T> Clone for Sender<T> {
            fn clone(&self) -> Sender<T> {
                chan::clone_sender(&*self.shared);
                Sender {
                    shared: self.shared.clone(),
                }
            }
        }

        impl<T> Drop for Sender<T> {
            fn drop(&mut self) {
                chan::drop_sender(&*self.shared);
            }
        }

        crate::sync::ends::counts!(Sender);

        /// Room for one value, which goes to the next sender when this is dropped.
        ///
        /// # Examples
        /// ```
        #[doc = concat!("use ", $module, "::{SendPermit, channel};")]
        ///
        /// let (sender, mut receiver) = channel(1);
        /// let room: SendPermit<'_, u32> = sender.try_reserve().unwrap();
        /// assert_eq!(sender.capacity(), 0);
        /// room.send(1);
        /// assert_eq!(receiver.try_recv(), Ok(1));
        /// ```
        #[must_use = "the room goes to the next when the permit is dropped"]
        pub struct SendPermit<'a, T> {
            /// `None` once it is used.
            shared: Option<&'a $pointer<$shared<T>>>,
        }

        impl<T> SendPermit<'_, T> {
            /// Sends a value; there is room for it. If the receiver is gone, the value is dropped;
            /// if it has closed the channel, it still receives the value.
            pub fn send(mut self, value: T) {
                if let Some(shared) = self.shared.take() {
                    chan::use_permit(&**shared, value);
                }
            }
        }

        impl<T> Drop for SendPermit<'_, T> {
            fn drop(&mut self) {
                if let Some(shared) = self.shared.take() {
                    chan::drop_permit(&**shared);
                }
            }
        }

        impl<T> std::fmt::Debug for SendPermit<'_, T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("SendPermit").finish_non_exhaustive()
            }
        }

        /// A [`SendPermit`] with the sender that it came from, which can be moved into a task.
        ///
        /// # Examples
        /// ```
        #[doc = concat!("use ", $module, "::{OwnedSendPermit, channel};")]
        ///
        /// let (sender, mut receiver) = channel(1);
        /// let room: OwnedSendPermit<u32> = sender.try_reserve_owned().unwrap();
        /// let sender = room.send(1);
        /// assert_eq!(receiver.try_recv(), Ok(1));
        /// sender.try_send(2).unwrap();
        /// ```
        #[must_use = "the room goes to the next when the permit is dropped"]
        pub struct OwnedSendPermit<T> {
            /// `None` once it is used.
            sender: Option<Sender<T>>,
        }

        impl<T> OwnedSendPermit<T> {
            /// Sends a value as [`SendPermit::send`]; the sender comes back.
            pub fn send(mut self, value: T) -> Sender<T> {
                let sender = self.take();
                chan::use_permit(&*sender.shared, value);
                sender
            }

            /// Gives the room to the next; the sender comes back.
            pub fn release(mut self) -> Sender<T> {
                let sender = self.take();
                chan::drop_permit(&*sender.shared);
                sender
            }

            fn take(&mut self) -> Sender<T> {
                let sender = self.sender.take();
                sender.expect("a permit has its sender until it is used")
            }
        }

        impl<T> Drop for OwnedSendPermit<T> {
            fn drop(&mut self) {
                if let Some(sender) = self.sender.take() {
                    chan::drop_permit(&*sender.shared);
                }
            }
        }

        impl<T> std::fmt::Debug for OwnedSendPermit<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("OwnedSendPermit").finish_non_exhaustive()
            }
        }

        /// Receives the values of a [`channel`]; also a `Stream` of them.
        ///
        /// Dropping it closes the channel and drops what is queued.
        ///
        /// # Examples
        /// ```
        #[doc = concat!("use ", $module, "::{Receiver, channel};")]
        ///
        /// let (sender, mut receiver): (_, Receiver<u32>) = channel(2);
        /// sender.try_send(1).unwrap();
        /// receiver.close();
        /// assert!(sender.try_send(2).is_err());
        /// assert_eq!(receiver.try_recv(), Ok(1));
        /// ```
        pub struct Receiver<T> {
            shared: $pointer<$shared<T>>,
            /// What it has out of the queue already.
            taken: <$shared<T> as Shared>::Taken,
            /// The wait of who polls it without a future of ours.
            note: crate::task::Note,
        }

        impl<T> Receiver<T> {
            /// The next value; `None` when every sender is gone, or the channel is closed, and all
            /// values were received.
            ///
            /// # Cancel safety
            /// Safe: a value leaves the channel only when it is returned.
            pub async fn recv(&mut self) -> Option<T> {
                self.note.clear();
                let (shared, taken) = (&*self.shared, &mut self.taken);
                let recv = std::future::poll_fn(|cx| chan::poll_recv(shared, taken, cx));
                crate::task::noted($shared::<T>::RECV, 0, recv).await
            }

            /// Polls for the next value; see [`recv`](Self::recv).
            pub fn poll_recv(
                &mut self,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<T>> {
                let polled = chan::poll_recv(&*self.shared, &mut self.taken, cx);
                self.note.follow(&polled, $shared::<T>::RECV, 0);
                polled
            }

            /// Waits for values, and appends to `values` what is there, at most `limit` of them.
            ///
            /// Returns how many; 0 when [`recv`](Self::recv) would return `None`, or `limit` is 0.
            ///
            /// # Cancel safety
            /// Safe: values leave the channel only when it completes.
            pub async fn recv_many(&mut self, values: &mut Vec<T>, limit: usize) -> usize {
                self.note.clear();
                let (shared, taken) = (&*self.shared, &mut self.taken);
                let recv = std::future::poll_fn(|cx| {
                    chan::poll_recv_many(shared, taken, cx, values, limit)
                });
                crate::task::noted($shared::<T>::RECV, 0, recv).await
            }

            /// The next value if there is one.
            ///
            /// # Errors
            /// `Empty`, or `Disconnected` if none will ever come.
            pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
                chan::try_recv(&*self.shared, &mut self.taken)
            }

            /// Takes no more values; those in the channel, and those of permits, can still be
            /// received.
            pub fn close(&mut self) {
                chan::close(&*self.shared);
            }

            /// Whether it was closed or every sender is gone; values may still be queued.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.shared
                    .with(|state| state.is_closed() || state.senders() == 0)
            }

            /// How many senders the channel has.
            #[must_use]
            pub fn sender_strong_count(&self) -> usize {
                self.shared.with(|state| state.senders())
            }
        }

        impl<T> futures_core::Stream for Receiver<T> {
            type Item = T;

            fn poll_next(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<T>> {
                self.poll_recv(cx)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                (self.len(), None)
            }
        }

        impl<T> Drop for Receiver<T> {
            fn drop(&mut self) {
                chan::drop_receiver(&*self.shared, std::mem::take(&mut self.taken));
            }
        }

        crate::sync::ends::counts!(Receiver);
    };
}

/// What both ends tell of the queue.
macro_rules! counts {
    ($end:ident) => {
        impl<T> $end<T> {
            /// Values sent and not yet received.
            #[must_use]
            pub fn len(&self) -> usize {
                chan::len(&*self.shared)
            }

            /// Whether [`len`](Self::len) is 0.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// How many values could be sent now.
            #[must_use]
            pub fn capacity(&self) -> usize {
                chan::free(&*self.shared)
            }

            /// The capacity that the channel was made with.
            #[must_use]
            pub fn max_capacity(&self) -> usize {
                self.shared.with(|state| state.capacity())
            }
        }

        impl<T> std::fmt::Debug for $end<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($end))
                    .field("len", &self.len())
                    .finish_non_exhaustive()
            }
        }
    };
}

pub(in crate::sync) use {channel_ends, counts};
