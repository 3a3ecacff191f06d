//! An open file.

use super::durable::Syncs;
use super::metadata::{FileTimes, Metadata};
use super::open_options::OpenOptions;
use super::submit::{is_interrupted, perform};
use crate::buf::{BufResult, IoBuf, IoBufMut};
use crate::driver::Driver;
use crate::driver::fd::Fd;
use crate::driver::submit::Submit;
use crate::driver::sys::{self, Permissions, StdFile};
use crate::op::{Allocate, Close, Read, Readv, SetLen, Stat, StatTarget, Write, Writev};
use std::io::{self, ErrorKind, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;

/// The file's own position, in place of an offset.
pub(super) const POSITION: u64 = u64::MAX;

/// An open file of this core.
///
/// Operations take `&self`, and any number of them may be in flight at once. Those with an offset
/// (`.._at`) do not know a position; [`read`](File::read), [`write`](File::write) and
/// [`seek`](File::seek) use the one that the kernel keeps, which clones and
/// [`into_std`](File::into_std) share, as in the standard library. For long sequential work use
/// [`FileReader`](super::FileReader) and [`FileWriter`](super::FileWriter).
///
/// Buffers are given to the operation and come back with its result. Dropping the file closes it
/// once its operations are over; [`close`](File::close) tells how that went.
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// use corering::fs::File;
/// let file = File::create("numbers").await?;
/// file.write_all_at(b"0123456789", 0).await.0?;
/// file.sync_all().await?;
/// file.close().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct File {
    fd: Fd,
    syncs: Rc<Syncs>,
}

impl File {
    pub(super) fn new(fd: Fd) -> File {
        File {
            fd,
            syncs: Rc::default(),
        }
    }

    pub(super) fn fd(&self) -> &Fd {
        &self.fd
    }

    /// Opens a file for reading (`openat(2)`).
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    ///
    /// # Cancel safety
    /// Safe: a file that is opened late is closed.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).open(path).await
    }

    /// Opens a file for writing: made if it is missing, emptied if it is not (`openat(2)`).
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    ///
    /// # Cancel safety
    /// Safe: a file that is opened late is closed. It may have been created or emptied.
    pub async fn create(path: impl AsRef<Path>) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        options.open(path).await
    }

    /// Makes a file for reading and writing (`openat(2)`).
    ///
    /// # Errors
    /// `AlreadyExists` if there is one; otherwise as [`OpenOptions::open`].
    ///
    /// # Cancel safety
    /// Safe: a file that is opened late is closed. It may have been created.
    pub async fn create_new(path: impl AsRef<Path>) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        options.open(path).await
    }

    /// The options with which a file can be opened.
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Takes over the standard library's handle.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn from_std(file: StdFile) -> File {
        File::new(Fd::new(OwnedFd::from(file), &Driver::current()))
    }

    /// The standard library's handle.
    ///
    /// # Errors
    /// `ResourceBusy` if an operation is in flight or a clone exists; this handle is dropped then.
    pub fn into_std(self) -> io::Result<StdFile> {
        self.try_into_std().map_err(|_| busy())
    }

    /// The standard library's handle; or this one again, if an operation is in flight or a clone
    /// exists.
    pub fn try_into_std(self) -> Result<StdFile, File> {
        let File { fd, syncs } = self;
        match fd.try_unwrap() {
            Ok(fd) => Ok(StdFile::from(fd.into_owned())),
            Err(fd) => Err(File { fd, syncs }),
        }
    }

    /// Another handle of this open file: same position, same locks, same failure of a sync.
    ///
    /// # Errors
    /// None; the result is the standard library's form.
    pub fn try_clone(&self) -> io::Result<File> {
        Ok(self.share())
    }

    pub(super) fn share(&self) -> File {
        File {
            fd: self.fd.clone(),
            syncs: self.syncs.clone(),
        }
    }

    /// Closes the file and reports what `close(2)` does, such as a network file system's late
    /// error. It says nothing about the disk: that is [`sync_all`](File::sync_all)'s.
    ///
    /// # Errors
    /// `ResourceBusy` if an operation is in flight or a clone exists: the file is then closed
    /// when the last of them is gone. Otherwise what the kernel says; the file is closed anyway.
    ///
    /// # Cancel safety
    /// Safe: once polled, the file is closed; only the report is lost.
    pub async fn close(self) -> io::Result<()> {
        let driver = self.fd.driver().clone();
        let fd = self.fd.try_unwrap().map_err(|_| busy())?;
        Submit::new(&driver, Close(fd)).await
    }
}

/// Reading and writing.
impl File {
    /// Reads at `offset` bytes from the start (`pread(2)`), and says how many bytes: fewer than
    /// the buffer has room for at the end of the file, 0 behind it.
    ///
    /// # Errors
    /// What the kernel says: `IsADirectory`, `InvalidInput` for an offset beyond 2⁶³ or an
    /// unaligned buffer on a file that was opened [`direct`](OpenOptions::direct).
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed. The buffer is dropped when the kernel is done with it.
    pub async fn read_at<B: IoBufMut>(&self, buf: B, offset: u64) -> BufResult<usize, B> {
        match check_offset(offset) {
            Ok(()) => self.read_op(buf, offset).await,
            Err(error) => (Err(error), buf),
        }
    }

    async fn read_op<B: IoBufMut>(&self, buf: B, offset: u64) -> BufResult<usize, B> {
        let fd = self.fd.clone();
        let (result, buf) = Submit::new(self.fd.driver(), Read { fd, buf, offset }).await;
        (result.map_err(|error| self.explain(error)), buf)
    }

    /// Writes at `offset` bytes from the start (`pwrite(2)`), and says how many bytes were
    /// written. On a file that was opened with `append` the bytes go to its end, in the order in
    /// which the writes were submitted.
    ///
    /// # Errors
    /// What the kernel says: `StorageFull`, `InvalidInput` as for [`read_at`](File::read_at).
    ///
    /// # Cancel safety
    /// Not safe: the write may still happen after the drop.
    pub async fn write_at<B: IoBuf>(&self, buf: B, offset: u64) -> BufResult<usize, B> {
        match check_offset(offset) {
            Ok(()) => self.write_op(buf, offset).await,
            Err(error) => (Err(error), buf),
        }
    }

    async fn write_op<B: IoBuf>(&self, buf: B, offset: u64) -> BufResult<usize, B> {
        let fd = self.fd.clone();
        let (result, buf) = Submit::new(self.fd.driver(), Write { fd, buf, offset }).await;
        (result.map_err(|error| self.explain(error)), buf)
    }

    /// Reads until the buffer's whole room is full: of a `Vec`, its capacity. To read less, pass
    /// a [`slice`](IoBuf::slice).
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends first (the buffer then holds what there was); otherwise
    /// as [`read_at`](File::read_at).
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed. The buffer is dropped when the kernel is done with it.
    pub async fn read_exact_at<B: IoBufMut>(&self, mut buf: B, offset: u64) -> BufResult<(), B> {
        let (room, mut done) = (buf.buf_capacity(), 0);
        while done < room {
            let at = offset.saturating_add(done as u64);
            let (result, part) = self.read_at(buf.slice(done..room), at).await;
            buf = part.into_inner();
            match result {
                Ok(0) => {
                    let what = format!("the file ended after {done} of {room} bytes");
                    return (Err(io::Error::new(ErrorKind::UnexpectedEof, what)), buf);
                }
                Ok(n) => done += n,
                Err(error) if is_interrupted(&error) => {}
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }

    /// Writes the whole buffer.
    ///
    /// # Errors
    /// `WriteZero` if the kernel takes no more; otherwise as [`write_at`](File::write_at). A
    /// part may have been written.
    ///
    /// # Cancel safety
    /// Not safe: any part may still be written after the drop.
    pub async fn write_all_at<B: IoBuf>(&self, mut buf: B, offset: u64) -> BufResult<(), B> {
        let (len, mut done) = (buf.buf_len(), 0);
        while done < len {
            let at = offset.saturating_add(done as u64);
            let (result, part) = self.write_at(buf.slice(done..), at).await;
            buf = part.into_inner();
            match result {
                Ok(0) => return (Err(write_zero(done as u64)), buf),
                Ok(n) => done += n,
                Err(error) if is_interrupted(&error) => {}
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }

    /// Reads at `offset` into several buffers, one after the other (`preadv(2)`); at most 1024
    /// of them take part.
    ///
    /// # Errors
    /// As [`read_at`](File::read_at).
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed. The buffers are dropped when the kernel is done with them.
    pub async fn read_vectored_at<B: IoBufMut>(
        &self,
        bufs: Vec<B>,
        offset: u64,
    ) -> BufResult<usize, Vec<B>> {
        if let Err(error) = check_offset(offset) {
            return (Err(error), bufs);
        }
        let op = Readv::new(self.fd.clone(), bufs, offset);
        let (result, bufs) = Submit::new(self.fd.driver(), op).await;
        (result.map_err(|error| self.explain(error)), bufs)
    }

    /// Writes several buffers at `offset`, one after the other (`pwritev(2)`); at most 1024 of
    /// them take part.
    ///
    /// # Errors
    /// As [`write_at`](File::write_at).
    ///
    /// # Cancel safety
    /// Not safe: the write may still happen after the drop.
    pub async fn write_vectored_at<B: IoBuf>(
        &self,
        bufs: Vec<B>,
        offset: u64,
    ) -> BufResult<usize, Vec<B>> {
        if let Err(error) = check_offset(offset) {
            return (Err(error), bufs);
        }
        let op = Writev::new(self.fd.clone(), bufs, offset);
        let (result, bufs) = Submit::new(self.fd.driver(), op).await;
        (result.map_err(|error| self.explain(error)), bufs)
    }

    /// Reads at the file's own position and moves it (`read(2)`). The way to read what has no
    /// offsets, such as a named pipe. One at a time: two at once share the position.
    ///
    /// # Errors
    /// As [`read_at`](File::read_at).
    ///
    /// # Cancel safety
    /// Not safe: the position may move after the drop, and the bytes are lost.
    pub async fn read<B: IoBufMut>(&self, buf: B) -> BufResult<usize, B> {
        self.read_op(buf, POSITION).await
    }

    /// Writes at the file's own position and moves it (`write(2)`). One at a time.
    ///
    /// # Errors
    /// As [`write_at`](File::write_at).
    ///
    /// # Cancel safety
    /// Not safe: the write may still happen after the drop.
    pub async fn write<B: IoBuf>(&self, buf: B) -> BufResult<usize, B> {
        self.write_op(buf, POSITION).await
    }

    /// Moves the file's own position and says where it is then (`lseek(2)`).
    ///
    /// # Errors
    /// `InvalidInput` for a position before the start, `NotSeekable` for a pipe.
    pub fn seek(&self, to: SeekFrom) -> io::Result<u64> {
        let (offset, whence) = match to {
            SeekFrom::Start(at) => (
                i64::try_from(at).map_err(|_| offset_error(at))?,
                libc::SEEK_SET,
            ),
            SeekFrom::Current(by) => (by, libc::SEEK_CUR),
            SeekFrom::End(by) => (by, libc::SEEK_END),
        };
        sys::seek(&self.fd, offset, whence)
    }

    /// The file's own position.
    ///
    /// # Errors
    /// As [`seek`](File::seek).
    pub fn stream_position(&self) -> io::Result<u64> {
        self.seek(SeekFrom::Current(0))
    }

    /// Names the cure where the kernel only says "invalid argument".
    pub(super) fn explain(&self, error: io::Error) -> io::Error {
        let is_direct = || sys::open_flags(&self.fd).is_ok_and(|flags| flags & libc::O_DIRECT != 0);
        if error.raw_os_error() == Some(libc::EINVAL) && is_direct() {
            let what = "this file was opened with O_DIRECT: the buffer's address and length and \
                        the offset must be multiples of the disk's block; use `buf::AlignedBuf`";
            return io::Error::new(ErrorKind::InvalidInput, what);
        }
        error
    }
}

/// Durability.
impl File {
    /// Makes data and metadata durable (`fsync(2)`): `Ok` means that the kernel has reported
    /// everything written before this call to be on the disk. Calls at the same time share syncs.
    ///
    /// # Errors
    /// What the kernel says. Once a sync of this handle or of a clone has failed, every later one
    /// fails too, and says so: the kernel reports lost data only once, and forgets it then.
    ///
    /// # Cancel safety
    /// Safe: the sync may still happen after the drop; if it fails then, later ones know it.
    pub async fn sync_all(&self) -> io::Result<()> {
        self.syncs.sync(&self.fd, false).await
    }

    /// Makes the data durable, and of the metadata what is needed to read it (`fdatasync(2)`).
    ///
    /// # Errors
    /// As [`sync_all`](File::sync_all).
    ///
    /// # Cancel safety
    /// As [`sync_all`](File::sync_all).
    pub async fn sync_data(&self) -> io::Result<()> {
        self.syncs.sync(&self.fd, true).await
    }
}

/// Length, metadata, locks.
impl File {
    /// Cuts the file off, or fills it with zeros, at `len` bytes (`ftruncate(2)`).
    ///
    /// # Errors
    /// `InvalidInput` if the file is not open for writing; otherwise what the kernel says.
    ///
    /// # Cancel safety
    /// Not safe: it may still happen after the drop.
    pub async fn set_len(&self, len: u64) -> io::Result<()> {
        if i64::try_from(len).is_err() {
            return Err(offset_error(len));
        }
        let driver = self.fd.driver();
        if !driver.features().ftruncate {
            return sys::set_len(&self.fd, len);
        }
        let op = || SetLen {
            fd: self.fd.clone(),
            len,
        };
        perform(driver, op).await
    }

    /// Reserves the disk's space for `len` bytes from `offset` on, in zeros where there was
    /// nothing; the file grows if need be (`fallocate(2)`). Writes there do not fail for space.
    ///
    /// # Errors
    /// `StorageFull`; `Unsupported` where the file system cannot; `InvalidInput` for no bytes.
    ///
    /// # Cancel safety
    /// Not safe: it may still happen after the drop.
    pub async fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let op = || Allocate {
            fd: self.fd.clone(),
            offset,
            len,
            mode: 0,
        };
        perform(self.fd.driver(), op).await
    }

    /// What the kernel knows of the file (`statx(2)`).
    ///
    /// # Errors
    /// What the kernel says.
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        let op = || Stat::new(StatTarget::Fd(self.fd.clone()));
        perform(self.fd.driver(), op).await.map(Metadata::new)
    }

    /// What the kernel has in memory about the file: [`metadata`](File::metadata) as a plain call,
    /// which does not wait for a disk. A network file system may be behind the times.
    ///
    /// # Errors
    /// What the kernel says (`statx(2)` with `AT_STATX_DONT_SYNC`).
    pub fn cached_metadata(&self) -> io::Result<Metadata> {
        sys::metadata(&self.fd).map(Metadata::new)
    }

    /// Sets who may do what (`fchmod(2)`). A plain call, which does not wait for the disk.
    ///
    /// # Errors
    /// `PermissionDenied` for a file of somebody else.
    pub fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        sys::set_mode(&self.fd, permissions.mode() & 0o7777)
    }

    /// Sets the times of access and change (`futimens(2)`). A plain call, which does not wait
    /// for the disk.
    ///
    /// # Errors
    /// `PermissionDenied` for a file of somebody else, `InvalidInput` for a time that does not
    /// fit.
    pub fn set_times(&self, times: FileTimes) -> io::Result<()> {
        sys::set_times(&self.fd, times.specs()?)
    }

    /// Sets the time of the last change; see [`set_times`](File::set_times).
    ///
    /// # Errors
    /// As [`set_times`](File::set_times).
    pub fn set_modified(&self, at: std::time::SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(at))
    }

    /// Locks the file against other locks, if that can be done at once (`flock(2)`). The lock
    /// belongs to the open file: clones share it, and it ends when the last of them is closed.
    ///
    /// # Errors
    /// `WouldBlock` if somebody else holds a lock.
    pub fn try_lock(&self) -> io::Result<()> {
        sys::flock(&self.fd, libc::LOCK_EX)
    }

    /// Locks the file against exclusive locks, if that can be done at once (`flock(2)`).
    ///
    /// # Errors
    /// `WouldBlock` if somebody else holds an exclusive lock.
    pub fn try_lock_shared(&self) -> io::Result<()> {
        sys::flock(&self.fd, libc::LOCK_SH)
    }

    /// Gives up the lock (`flock(2)`).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn unlock(&self) -> io::Result<()> {
        sys::flock(&self.fd, libc::LOCK_UN)
    }
}

impl From<StdFile> for File {
    /// As [`File::from_std`].
    fn from(file: StdFile) -> File {
        File::from_std(file)
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// The kernel takes signed offsets, and the largest number of all means something else to it.
fn check_offset(offset: u64) -> io::Result<()> {
    match i64::try_from(offset) {
        Ok(_) => Ok(()),
        Err(_) => Err(offset_error(offset)),
    }
}

fn offset_error(offset: u64) -> io::Error {
    let what = format!("{offset} is beyond the largest offset of a file, 2^63 - 1");
    io::Error::new(ErrorKind::InvalidInput, what)
}

/// The kernel said that it took nothing of what was left.
pub(super) fn write_zero(done: u64) -> io::Error {
    let what = format!("the kernel takes no more bytes, after {done}");
    io::Error::new(ErrorKind::WriteZero, what)
}

fn busy() -> io::Error {
    let what = "an operation on this file is in flight, or a clone of it exists";
    io::Error::new(ErrorKind::ResourceBusy, what)
}
