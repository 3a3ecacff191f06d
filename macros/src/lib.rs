//! `#[corering::main]` and `#[corering::test]`: an async function becomes the start of a program
//! or a test of its own.
//!
//! Rules:
//! 1. Only tokens are spliced: the written function is kept whole, as an inner function, so its
//!    types, spans and error messages are those that the author wrote.
//! 2. Attributes and visibility stay on the outer function, the one that the outside calls.
//! 3. A wrong use is a `compile_error!` at the words that are wrong, and says what to write.
//!
//! ```text
//! #[attr]                             #[attr]
//! pub async fn main() -> R {          pub fn main() -> R {
//!     body                     ==>        async fn main() -> R { body }
//! }                                       let runtime = Runtime::builder()..build();
//!                                         runtime.block_on(main())
//!                                     }
//! ```

mod expand;
mod options;

use proc_macro::TokenStream;

use crate::expand::Kind;

/// Runs an `async fn main` on a runtime of its own.
///
/// When the runtime cannot be built, the reason and its cure are printed to standard error and
/// the process ends with exit code 1.
///
/// # Options
/// - `cores = 4` starts four cores, `cores = "all"` one for every CPU that the process may use.
///   Without the option the builder's own default applies.
/// - `pin = true` or `pin = false`: whether each core stays on its own CPU.
/// - `name = "web"`: the first part of the threads' names.
/// - `crate = "some::path"`: where `corering` is found, when it was renamed or re-exported.
///
/// # Examples
/// ```ignore (the runtime depends on this crate, not the other way round)
/// #[corering::main(cores = "all", pin = true)]
/// async fn main() -> std::io::Result<()> {
///     Ok(())
/// }
/// ```
///
/// A function that is not async is refused:
/// ```compile_fail
/// #[corering_macros::main]
/// fn main() {}
/// ```
///
/// And so are arguments:
/// ```compile_fail
/// #[corering_macros::main]
/// async fn main(arguments: Vec<String>) {}
/// ```
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Kind::Main, options, item)
}

/// Makes an `async fn` a test that runs on a runtime of its own.
///
/// Takes the options of [`macro@main`]. Without them a test has one core, which is not pinned, so
/// that tests in parallel do not share a CPU. Other attributes (`#[should_panic]`, `#[ignore]`)
/// and a return type such as `Result<(), E>` work as they do with `#[test]`. A runtime that cannot
/// be built is a panic with the reason and its cure.
///
/// # Examples
/// ```ignore (the runtime depends on this crate, not the other way round)
/// #[corering::test]
/// async fn two_and_two() {
///     assert_eq!(2 + 2, 4);
/// }
/// ```
///
/// `#[test]` beside it would run the function twice and is refused:
/// ```compile_fail
/// #[corering_macros::test]
/// #[test]
/// async fn twice() {}
///
/// fn main() {}
/// ```
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Kind::Test, options, item)
}
