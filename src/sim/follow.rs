//! The macro that has the C library's clock and random numbers follow the seed.

/// Makes the C library's clock and random numbers those of the simulation, on threads that are
/// inside of one: so the standard library's `Instant` and `SystemTime`, the order of a `HashMap`,
/// and crates that draw random numbers follow the seed too. Once in a test crate, outside of any
/// function.
///
/// ```
/// corering::follow_the_seed!();
/// # fn main() {
/// let before = std::time::Instant::now();
/// let mut sim = corering::sim::Sim::new(1);
/// let host = sim.host("a").boot(|_| async {});
/// let slept = sim.block_on(&host, async {
///     let start = std::time::Instant::now();
///     corering::time::sleep(std::time::Duration::from_secs(60)).await;
///     start.elapsed()
/// });
/// assert!(slept.as_secs() >= 60 && before.elapsed().as_secs() < 60);
/// # }
/// ```
#[macro_export]
macro_rules! follow_the_seed {
    () => {
        #[doc(hidden)]
        mod __corering_follow_the_seed {
            #[unsafe(no_mangle)]
            unsafe extern "C" fn getrandom(to: *mut u8, len: usize, flags: u32) -> isize {
                // SAFETY: the promise of the C function's caller, passed on.
                unsafe { $crate::sim::__getrandom(to, len, flags) }
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn clock_gettime(
                clock: i32,
                to: *mut $crate::sim::__Timespec,
            ) -> i32 {
                // SAFETY: the promise of the C function's caller, passed on.
                unsafe { $crate::sim::__clock_gettime(clock, to) }
            }
        }
    };
}
