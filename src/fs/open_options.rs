//! How a file is opened.

use super::File;
use super::submit::perform;
use crate::driver::Driver;
use crate::driver::fd::Fd;
use crate::driver::sys;
use crate::op::{OpenAt, Readiness, c_path};
use std::future::{Future, poll_fn};
use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};

/// How a file is opened, as in the standard library.
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// use corering::fs::OpenOptions;
/// let log = OpenOptions::new().append(true).create(true).open("events.log").await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `open`"]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    mode: u32,
    custom_flags: i32,
    direct: bool,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions::new()
    }
}

impl OpenOptions {
    /// Nothing is allowed yet; a file that is made gets the mode `0o666`, less the umask.
    pub fn new() -> OpenOptions {
        OpenOptions {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            mode: 0o666,
            custom_flags: 0,
            direct: false,
        }
    }

    /// Whether the file may be read.
    pub fn read(&mut self, read: bool) -> &mut OpenOptions {
        self.read = read;
        self
    }

    /// Whether the file may be written.
    pub fn write(&mut self, write: bool) -> &mut OpenOptions {
        self.write = write;
        self
    }

    /// Whether every write goes to the end of the file, whatever offset it names (`O_APPEND`).
    pub fn append(&mut self, append: bool) -> &mut OpenOptions {
        self.append = append;
        self
    }

    /// Whether the file is emptied; needs `write`.
    pub fn truncate(&mut self, truncate: bool) -> &mut OpenOptions {
        self.truncate = truncate;
        self
    }

    /// Whether the file is made if it is missing; needs `write` or `append`.
    pub fn create(&mut self, create: bool) -> &mut OpenOptions {
        self.create = create;
        self
    }

    /// Whether the file must be new: one that exists is an error (`O_EXCL`). `create` and
    /// `truncate` are ignored then.
    pub fn create_new(&mut self, create_new: bool) -> &mut OpenOptions {
        self.create_new = create_new;
        self
    }

    /// The mode of a file that is made; the process's umask is taken off.
    pub fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.mode = mode;
        self
    }

    /// More flags of `open(2)`, such as `O_NOFOLLOW`. The access mode among them is ignored.
    pub fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        self.custom_flags = flags;
        self
    }

    /// Whether reads and writes go around the page cache (`O_DIRECT`).
    ///
    /// Buffers, offsets and lengths must then be multiples of the disk's block: use
    /// [`AlignedBuf`](crate::buf::AlignedBuf). What is not aligned fails with `InvalidInput`.
    pub fn direct(&mut self, direct: bool) -> &mut OpenOptions {
        self.direct = direct;
        self
    }

    /// Opens the file (`openat(2)`); the descriptor is close-on-exec.
    ///
    /// A named pipe waits until its other end is opened, unless `custom_flags` has `O_NONBLOCK`.
    /// Meanwhile it takes one of the core's
    /// [`kernel_workers`](crate::Builder::kernel_workers), and so may hold up other files.
    ///
    /// # Errors
    /// `InvalidInput` if the options contradict each other or the path has a NUL inside (nothing
    /// is asked of the kernel then); otherwise what the kernel says, such as `NotFound`.
    ///
    /// # Panics
    /// Outside of a runtime.
    ///
    /// # Cancel safety
    /// Safe: a file that is opened late is closed. It may have been created or emptied.
    pub async fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let (flags, path) = (self.flags()?, c_path(path.as_ref())?);
        let driver = Driver::current();
        let open = |waits| OpenAt {
            driver: driver.clone(),
            dir: None,
            path: path.clone(),
            flags,
            mode: self.mode,
            waits,
        };
        open_as_open(flags, open).await.map(File::new)
    }

    /// The flags for the kernel.
    fn flags(&self) -> io::Result<i32> {
        let access = match (self.read, self.write, self.append) {
            (true, false, false) => libc::O_RDONLY,
            (false, true, false) => libc::O_WRONLY,
            (true, true, false) => libc::O_RDWR,
            (false, _, true) => libc::O_WRONLY | libc::O_APPEND,
            (true, _, true) => libc::O_RDWR | libc::O_APPEND,
            (false, false, false) => {
                return invalid("a file is opened for `read`, `write` or `append`");
            }
        };
        let makes = self.create || self.create_new;
        if !self.write && !self.append && (makes || self.truncate) {
            return invalid("`create`, `create_new` and `truncate` need `write` or `append`");
        }
        if self.append && self.truncate && !self.create_new {
            return invalid("`truncate` contradicts `append`");
        }
        let creation = match (self.create, self.truncate, self.create_new) {
            (_, _, true) => libc::O_CREAT | libc::O_EXCL,
            (true, true, false) => libc::O_CREAT | libc::O_TRUNC,
            (true, false, false) => libc::O_CREAT,
            (false, true, false) => libc::O_TRUNC,
            (false, false, false) => 0,
        };
        let direct = if self.direct { libc::O_DIRECT } else { 0 };
        Ok(access | creation | direct | self.custom_flags & !libc::O_ACCMODE)
    }
}

/// Opens with one trip to the kernel, and with a second one for a named pipe, whose open waits
/// until somebody has opened the other end.
async fn open_as_open(flags: i32, open: impl Fn(bool) -> OpenAt) -> io::Result<Fd> {
    let driver = Driver::current();
    let first = perform(&driver, || open(false)).await;
    if flags & (libc::O_NONBLOCK | libc::O_PATH) != 0 {
        return first;
    }
    match (first, flags & libc::O_ACCMODE) {
        (Err(error), libc::O_WRONLY) if error.raw_os_error() == Some(libc::ENXIO) => {
            perform(&driver, || open(true)).await
        }
        (Ok(fd), libc::O_RDONLY) if is_pipe(&fd)? => {
            // A writer may have come and gone since: then only the first descriptor knows it.
            let mut second = pin!(perform(&driver, || open(true)));
            let mut writer = Readiness::of(&fd, libc::POLLIN);
            poll_fn(|cx| match second.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(result),
                Poll::Pending => {
                    let come = ready!(Pin::new(&mut writer).poll(cx));
                    Poll::Ready(come.map(|_| fd.clone()))
                }
            })
            .await
        }
        (first, _) => first,
    }
}

fn is_pipe(fd: &Fd) -> io::Result<bool> {
    let (mode, _) = sys::mode_and_len(fd)?;
    Ok(mode & libc::S_IFMT == libc::S_IFIFO)
}

fn invalid<T>(what: &str) -> io::Result<T> {
    let what = format!("the options contradict each other: {what}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `letters`: what is allowed, of "rwatcn".
    fn flags(letters: &str) -> Result<i32, io::ErrorKind> {
        let has = |letter| letters.contains(letter);
        let mut options = OpenOptions::new();
        options.read(has('r')).write(has('w')).append(has('a'));
        options
            .truncate(has('t'))
            .create(has('c'))
            .create_new(has('n'));
        options.flags().map_err(|error| error.kind())
    }

    #[test]
    fn flags_are_those_of_the_standard_library() {
        assert_eq!(flags("r"), Ok(libc::O_RDONLY));
        assert_eq!(flags("w"), Ok(libc::O_WRONLY));
        assert_eq!(flags("rw"), Ok(libc::O_RDWR));
        assert_eq!(flags("wa"), Ok(libc::O_WRONLY | libc::O_APPEND));
        assert_eq!(flags("ra"), Ok(libc::O_RDWR | libc::O_APPEND));
        assert_eq!(
            flags("wct"),
            Ok(libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC)
        );
        assert_eq!(
            flags("wctn"),
            Ok(libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL)
        );
        for bad in ["", "c", "t", "rc", "rt", "rn", "at", "wat", "act"] {
            assert_eq!(flags(bad), Err(io::ErrorKind::InvalidInput), "{bad}");
        }
    }

    #[test]
    fn more_flags_do_not_change_the_access() {
        let mut options = OpenOptions::new();
        options.read(true).direct(true);
        options.custom_flags(libc::O_NOFOLLOW | libc::O_RDWR);
        assert_eq!(
            options.flags().ok(),
            Some(libc::O_NOFOLLOW | libc::O_DIRECT)
        );
    }
}
