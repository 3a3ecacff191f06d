//! What a file contains: read, write, length, holes, position.

use super::content::{Change, Content};
use super::file::SECTOR;
use super::{BLOCK, Disk, Errno, FileData, Ino, Node, OpenFile};

/// No byte of a file lies at or behind this offset: as with ext4, 16 TiB less a block.
const FILE_BYTES_MAX: u64 = (1 << 44) - BLOCK;
/// No offset that the kernel knows is larger.
const OFFSET_MAX: u64 = i64::MAX as u64;

impl Disk {
    /// Reads at most `len` bytes: at an offset, or at the file's position, which moves on.
    pub(crate) fn read(
        &self,
        file: &mut OpenFile,
        offset: Option<u64>,
        len: usize,
    ) -> Result<Vec<u8>, Errno> {
        self.check_life(file);
        if !file.may_read() {
            return Err(libc::EBADF);
        }
        let at = offset.unwrap_or(file.position);
        check_place(file, at, len)?;
        let content = self.content(file.ino).map_err(|_| libc::EISDIR)?;
        let bytes = content.read(at, len);
        if offset.is_none() {
            file.position += bytes.len() as u64;
        }
        Ok(bytes)
    }

    /// Writes: at an offset, or at the file's position, which moves on; with `O_APPEND`, at the
    /// end. On a full disk, what fits is written and counted.
    pub(crate) fn write(
        &mut self,
        file: &mut OpenFile,
        offset: Option<u64>,
        data: &[u8],
        now: u64,
    ) -> Result<usize, Errno> {
        self.check_life(file);
        if !file.may_write() {
            return Err(libc::EBADF);
        }
        check_place(file, offset.unwrap_or(file.position), data.len())?;
        if data.is_empty() {
            return Ok(0);
        }
        let content = self.content(file.ino)?;
        let at = match file.has(libc::O_APPEND) {
            true => content.len(),
            false => offset.unwrap_or(file.position),
        };
        let len = (data.len() as u64).min(FILE_BYTES_MAX.saturating_sub(at));
        if len == 0 {
            return Err(libc::EFBIG);
        }
        let len = content.fitting(at, len, self.free_blocks());
        if len == 0 {
            return Err(libc::ENOSPC);
        }
        let data = data[..len as usize].into();
        self.change(file.ino, Change::Write { at, data }, now);
        if offset.is_none() {
            file.position = at + len;
        }
        if file.has(libc::O_DSYNC) {
            self.sync(file, !file.has(libc::O_SYNC))?;
        }
        Ok(len as usize)
    }

    /// Cuts the file, or makes it longer with a hole (`ftruncate(2)`).
    pub(crate) fn set_len(&mut self, file: &OpenFile, len: u64, now: u64) -> Result<(), Errno> {
        self.check_life(file);
        file.check_opened()?;
        if !file.may_write() || len > OFFSET_MAX {
            return Err(libc::EINVAL);
        }
        if len > FILE_BYTES_MAX {
            return Err(libc::EFBIG);
        }
        self.change(file.ino, Change::SetLen(len), now);
        Ok(())
    }

    /// Reserves, gives back or zeroes space (`fallocate(2)`). `mode` is 0, `KEEP_SIZE`,
    /// `PUNCH_HOLE | KEEP_SIZE` or `ZERO_RANGE`, with or without `KEEP_SIZE`.
    pub(crate) fn allocate(
        &mut self,
        file: &OpenFile,
        mode: i32,
        offset: u64,
        len: u64,
        now: u64,
    ) -> Result<(), Errno> {
        const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE;
        const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE;
        const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;
        self.check_life(file);
        file.check_opened()?;
        if offset > OFFSET_MAX || len == 0 || len > OFFSET_MAX {
            return Err(libc::EINVAL);
        }
        if mode & !KEEP != 0 && mode & !KEEP != ZERO && mode != PUNCH | KEEP {
            return Err(libc::EOPNOTSUPP);
        }
        if !file.may_write() {
            return Err(libc::EBADF);
        }
        let end = offset + len;
        if end > FILE_BYTES_MAX {
            return Err(libc::EFBIG);
        }
        let content = self.content(file.ino)?;
        let grows = mode & KEEP == 0 && content.len() < end;
        let change = match mode & !KEEP {
            PUNCH => Change::Punch(offset..end),
            _ if content.fitting(offset, len, self.free_blocks()) < len => {
                return Err(libc::ENOSPC);
            }
            ZERO => Change::Zero(offset..end),
            _ => Change::Reserve(offset..end),
        };
        // The length first: growing gives back what is reserved behind the end.
        if grows {
            self.change(file.ino, Change::SetLen(end), now);
        }
        self.change(file.ino, change, now);
        Ok(())
    }

    /// Moves the position (`lseek(2)`), and returns it. Of a directory it is a place in the
    /// listing, of which 0 is the first.
    pub(crate) fn seek(&self, file: &mut OpenFile, offset: i64, whence: i32) -> Result<u64, Errno> {
        self.check_life(file);
        file.check_opened()?;
        let content = self.content(file.ino);
        let sum = |base: u64| base.checked_add_signed(offset).ok_or(libc::EINVAL);
        let from = || u64::try_from(offset).map_err(|_| libc::ENXIO);
        let at = match (whence, content) {
            (libc::SEEK_SET, _) => sum(0)?,
            (libc::SEEK_CUR, _) => sum(file.position)?,
            (libc::SEEK_END, Ok(content)) => sum(content.len())?,
            (libc::SEEK_DATA, Ok(content)) => content.find(from()?, true).ok_or(libc::ENXIO)?,
            (libc::SEEK_HOLE, Ok(content)) => content.find(from()?, false).ok_or(libc::ENXIO)?,
            _ => return Err(libc::EINVAL),
        };
        if at > FILE_BYTES_MAX {
            return Err(libc::EINVAL);
        }
        file.position = at;
        Ok(at)
    }

    /// Changes a file's content, and counts the space.
    pub(super) fn change(&mut self, ino: Ino, change: Change, now: u64) {
        let inode = self.inode_mut(ino);
        inode.touch(now);
        let Node::File(file) = &mut inode.node else {
            unreachable!("only regular files are opened for writing");
        };
        let blocks_before = file.cached().blocks();
        file.change(change);
        let blocks = file.cached().blocks();
        self.used_blocks = self.used_blocks - blocks_before + blocks;
    }

    fn content(&self, ino: Ino) -> Result<&Content, Errno> {
        match &self.inode(ino).node {
            Node::File(file) => Ok(FileData::cached(file)),
            _ => Err(libc::EINVAL),
        }
    }
}

fn check_place(file: &OpenFile, at: u64, len: usize) -> Result<(), Errno> {
    let is_aligned = at % SECTOR == 0 && len as u64 % SECTOR == 0;
    let is_known = at
        .checked_add(len as u64)
        .is_some_and(|end| end <= OFFSET_MAX);
    if !is_known || file.has(libc::O_DIRECT) && !is_aligned {
        return Err(libc::EINVAL);
    }
    Ok(())
}
