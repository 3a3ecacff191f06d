//! The loops of one core, as text that each contender compiles against its runtime.

/// Defines `one_core`, which carries out every case of one core.
///
/// The module that it is given has these, of the runtime and with nothing around it:
/// ```text
/// fn block_on(job: &Job, future) -> Result<Output, Stop>     runs it on this thread
/// fn spawn(future) -> Handle                                 the future's output is a u64
/// async fn join(handle: Handle) -> u64
/// async fn yield_now()
/// fn sleep(duration: Duration) -> impl Future
/// ```
#[macro_export]
macro_rules! task_loops {
    ($runtime:path) => {
        use $runtime as of_runtime;

        fn one_core(job: &$crate::Job) -> $crate::Measured {
            let million = job.scaled(1_000_000);
            let figures = match job.case.name {
                "spawn-join" => of_runtime::block_on(job, spawn_join(million))?,
                "spawn-million" => of_runtime::block_on(job, spawn_million(million))?,
                "yield" => of_runtime::block_on(job, yields(million))?,
                "timer-drop" => of_runtime::block_on(job, timer_drop(million))?,
                "timer-replace" => of_runtime::block_on(job, timer_replace(million))?,
                "timer-fire" => of_runtime::block_on(job, timer_fire(job.scaled(100_000)))?,
                other => {
                    let reason = format!("`{other}` is not done");
                    return Err($crate::Stop::unsupported(reason));
                }
            };
            Ok(figures)
        }

        async fn spawn_join(tasks: usize) -> $crate::Figures {
            let mut handles = Vec::with_capacity($crate::tasks::TOGETHER);
            let mut sum = 0;
            let meter = $crate::Meter::begin();
            for begin in (0..tasks).step_by($crate::tasks::TOGETHER) {
                for index in begin..tasks.min(begin + $crate::tasks::TOGETHER) {
                    handles.push(of_runtime::spawn(async move { index as u64 }));
                }
                for handle in handles.drain(..) {
                    sum += of_runtime::join(handle).await;
                }
            }
            let figures = meter.end(tasks as u64);
            $crate::tasks::assert_sum(sum, tasks);
            figures
        }

        async fn spawn_million(tasks: usize) -> $crate::Figures {
            let mut handles = Vec::with_capacity(tasks);
            let mut sum = 0;
            let meter = $crate::Meter::begin();
            for index in 0..tasks {
                handles.push(of_runtime::spawn(async move { index as u64 }));
            }
            for handle in handles.drain(..) {
                sum += of_runtime::join(handle).await;
            }
            let figures = meter.end(tasks as u64);
            $crate::tasks::assert_sum(sum, tasks);
            figures
        }

        async fn yields(yields: usize) -> $crate::Figures {
            let each = yields.div_ceil($crate::tasks::TOGETHER) as u64;
            let mut handles = Vec::with_capacity($crate::tasks::TOGETHER);
            let mut sum = 0;
            let meter = $crate::Meter::begin();
            for _ in 0..$crate::tasks::TOGETHER {
                handles.push(of_runtime::spawn(async move {
                    for _ in 0..each {
                        of_runtime::yield_now().await;
                    }
                    each
                }));
            }
            for handle in handles.drain(..) {
                sum += of_runtime::join(handle).await;
            }
            meter.end(sum)
        }

        async fn timer_drop(timers: usize) -> $crate::Figures {
            let mut live = Vec::with_capacity($crate::tasks::LIVE_TIMERS);
            for index in 0..$crate::tasks::LIVE_TIMERS {
                let mut timer = Box::pin(of_runtime::sleep($crate::tasks::far(index)));
                assert!($crate::tasks::set(timer.as_mut()).await, "it is not due");
                live.push(timer);
            }
            let meter = $crate::Meter::begin();
            for index in 0..timers {
                let timer = std::pin::pin!(of_runtime::sleep($crate::tasks::far(index)));
                assert!($crate::tasks::set(timer).await, "it is not due");
                if index % $crate::tasks::TOGETHER == 0 {
                    of_runtime::yield_now().await;
                }
            }
            meter.end(timers as u64)
        }

        async fn timer_replace(timers: usize) -> $crate::Figures {
            let mut live = Vec::with_capacity($crate::tasks::LIVE_TIMERS);
            for index in 0..$crate::tasks::LIVE_TIMERS {
                let mut slot = Box::pin(Some(of_runtime::sleep($crate::tasks::far(index))));
                let timer = slot.as_mut().as_pin_mut().expect("just put there");
                assert!($crate::tasks::set(timer).await, "it is not due");
                live.push(slot);
            }
            let meter = $crate::Meter::begin();
            for index in 0..timers {
                let slot = &mut live[index % $crate::tasks::LIVE_TIMERS];
                let far = $crate::tasks::far($crate::tasks::LIVE_TIMERS + index);
                slot.as_mut().set(Some(of_runtime::sleep(far)));
                let timer = slot.as_mut().as_pin_mut().expect("just put there");
                assert!($crate::tasks::set(timer).await, "it is not due");
                if index % $crate::tasks::TOGETHER == 0 {
                    of_runtime::yield_now().await;
                }
            }
            meter.end(timers as u64)
        }

        async fn timer_fire(timers: usize) -> $crate::Figures {
            let mut handles = Vec::with_capacity(timers);
            let mut sum = 0;
            let meter = $crate::Meter::begin();
            for index in 0..timers {
                // A prime apart: neither in order nor in reverse.
                let micros = (index * 7_919 % timers + 1) as u64;
                let duration = std::time::Duration::from_micros(micros);
                handles.push(of_runtime::spawn(async move {
                    of_runtime::sleep(duration).await;
                    1
                }));
            }
            for handle in handles.drain(..) {
                sum += of_runtime::join(handle).await;
            }
            let figures = meter.end(sum);
            assert!(
                figures.wall_ns >= timers as u64 * 1_000,
                "a timer was early"
            );
            figures
        }
    };
}

/// Defines `wake`, which carries out the cases of that name with nothing but the runtime's wakers.
/// The module that it is given is that of [`task_loops`](crate::task_loops).
#[macro_export]
macro_rules! wake_loop {
    ($runtime:path) => {
        fn wake(job: &$crate::Job) -> $crate::Measured {
            use $runtime as of_runtime;
            let rounds = job.scaled($crate::tasks::ROUND_TRIPS);
            let bells = [$crate::tasks::Bell::new(), $crate::tasks::Bell::new()];
            let [there, back] = bells.clone();
            let ping = move || of_runtime::block_on(job, $crate::tasks::ping(there, back, rounds));
            let [there, back] = bells;
            let pong = move || of_runtime::block_on(job, $crate::tasks::pong(there, back, rounds));
            Ok($crate::tasks::on_two_cores(ping, pong)?.0)
        }
    };
}

/// Defines `measure`, which carries out every case: those of one core and `wake` by the macros
/// above, and `channel` through one whose ends have `async fn`s `send` and `recv`.
///
/// Called as `measure_tasks!(crate::runtime, tokio::sync::mpsc, channel)`: the module of
/// [`task_loops`](crate::task_loops), then where `Sender`, `Receiver` and the function stand that
/// makes both with room for so many values.
#[macro_export]
macro_rules! measure_tasks {
    ($runtime:path, $($of_channel:ident)::+, $make:ident) => {
        $crate::task_loops!($runtime);
        $crate::wake_loop!($runtime);

        use $($of_channel)::+::{Receiver, Sender, $make as make_channel};

        pub(crate) fn measure(job: &$crate::Job) -> $crate::Measured {
            match job.case.name {
                "wake" | "wake-spin" => wake(job),
                "channel" => between_cores(job),
                _ => one_core(job),
            }
        }

        fn between_cores(job: &$crate::Job) -> $crate::Measured {
            let (sender, receiver) = make_channel($crate::tasks::CHANNEL_LEN);
            $crate::tasks::channel(
                job.scaled(1_000_000),
                |values| of_runtime::block_on(job, send(sender, values)),
                |values| of_runtime::block_on(job, receive(receiver, values)),
            )
        }

        async fn send(sender: Sender<u64>, values: u64) {
            for value in 0..values {
                sender.send(value).await.expect("the receiver lives");
            }
        }

        #[allow(unused_mut, reason = "some channels have one receiver, which they change")]
        async fn receive(mut receiver: Receiver<u64>, values: u64) -> $crate::tasks::Received {
            let mut received = $crate::tasks::Received::new(values);
            while received.take(receiver.recv().await.expect("the sender lives")) {}
            received
        }
    };
}
