//! What a guard of a lock shows: the value that it leads to.

/// Implements `Debug` and `Display` for guards of a `T`.
macro_rules! guard_text {
    ($($guard:ty),*) => {$(
        impl<T: ?Sized + std::fmt::Debug> std::fmt::Debug for $guard {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                (**self).fmt(f)
            }
        }

        impl<T: ?Sized + std::fmt::Display> std::fmt::Display for $guard {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                (**self).fmt(f)
            }
        }
    )*};
}

pub(super) use guard_text;
