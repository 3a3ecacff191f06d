//! Writers that take a buffer as it is.

use crate::buf::{BufResult, IoBuf};
use std::future::Future;

/// A writer to which a buffer can be given, whole and without a copy: all streams of
/// [`net`](crate::net) and their writing halves. What [`send_file`](crate::fs::send_file) sends to.
///
/// ```
/// use corering::io::WriteOwned;
///
/// async fn greet(to: &mut impl WriteOwned, name: String) -> std::io::Result<()> {
///     to.write_all_owned("hello ").await.0?;
///     to.write_all_owned(name).await.0
/// }
/// # corering::block_on(async {
/// # let (mut here, mut there) = corering::net::UnixStream::pair().unwrap();
/// # greet(&mut here, "you".into()).await.unwrap();
/// # let mut all = [0; 9];
/// # there.read_exact(&mut all).await.unwrap();
/// # assert_eq!(&all, b"hello you");
/// # });
/// ```
pub trait WriteOwned {
    /// Writes all of `buf`, and gives it back.
    ///
    /// # Errors
    /// What the writer says.
    ///
    /// # Cancel safety
    /// Not safe: any part may have been written, and the buffer is not returned.
    fn write_all_owned<B: IoBuf>(&mut self, buf: B) -> impl Future<Output = BufResult<(), B>>;
}
