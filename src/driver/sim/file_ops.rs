//! Operations that a kernel worker performs: on files and paths. They take effect at one moment,
//! some time after they were submitted, and are told at the next `enter`.

use super::entry::Sqe;
use super::memory;
use super::state::{Event, Object, Op, Phase, State, What};
use io_uring::opcode;
use std::cell::RefCell;
use std::rc::Rc;

/// What the memory, the length and the offset of an `O_DIRECT` request have to be multiples of.
const SECTOR: usize = 512;

/// `struct open_how`.
#[derive(Clone, Copy)]
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

impl State {
    /// The open files that an entry names: they stay open until the operation ends.
    pub(super) fn files_of(&self, core: usize, sqe: &Sqe) -> Result<Vec<Rc<Object>>, i32> {
        let host = self.cores[core].host;
        let at = |number: i32| match number {
            libc::AT_FDCWD => Ok(None),
            number => self.object(host, number).map(Some),
        };
        let files = match sqe.opcode {
            opcode::RenameAt::CODE | opcode::LinkAt::CODE => {
                vec![at(sqe.fd)?, at(sqe.len as i32)?]
            }
            opcode::OpenAt::CODE
            | opcode::OpenAt2::CODE
            | opcode::UnlinkAt::CODE
            | opcode::MkDirAt::CODE
            | opcode::SymlinkAt::CODE
            | opcode::Statx::CODE => vec![at(sqe.fd)?],
            _ => vec![Some(self.object(host, sqe.fd)?)],
        };
        Ok(files.into_iter().flatten().collect())
    }

    /// How long a worker takes for this.
    pub(super) fn working_time(&mut self, core: usize, op: &Op) -> u64 {
        let slow = self.roll(|faults| faults.slow_disk);
        let time = match op.sqe.opcode {
            _ if slow => self.rng.between(1_000_000, 1_000_000_000),
            opcode::Fsync::CODE => self.rng.between(200_000, 8_000_000),
            // Some reads are cached, and over at once.
            opcode::Read::CODE | opcode::Readv::CODE if self.rng.chance(0.5) => 0,
            _ => self.rng.between(20_000, 300_000),
        };
        // Writes to one file end in the order in which they began.
        match op.sqe.opcode {
            opcode::Write::CODE | opcode::Writev::CODE => {
                let earlier = self.last_write(core, op);
                (self.now + time).max(earlier) - self.now
            }
            _ => time,
        }
    }

    fn last_write(&mut self, core: usize, op: &Op) -> u64 {
        let Some(file) = op.files.first() else {
            return 0;
        };
        let Ok(ino) = file.file().map(|file| file.borrow().ino()) else {
            return 0;
        };
        let host = self.cores[core].host;
        *self.hosts[host].writing_until.get(&ino).unwrap_or(&0)
    }

    /// Remembers when the worker's time for a write is over.
    pub(super) fn note_write(&mut self, core: usize, op: &Op, end: u64) {
        if !matches!(op.sqe.opcode, opcode::Write::CODE | opcode::Writev::CODE) {
            return;
        }
        let Some(Ok(ino)) = op
            .files
            .first()
            .map(|file| file.file().map(|f| f.borrow().ino()))
        else {
            return;
        };
        let host = self.cores[core].host;
        self.hosts[host].writing_until.insert(ino, end);
    }

    /// The worker's time is over: the operation takes effect.
    pub(super) fn worked(&mut self, core: usize, id: u64) {
        let Some(mut op) = self.cores[core].ops.remove(&id) else {
            return;
        };
        if op.phase == Phase::Worker {
            let result = match self.hosts[self.cores[core].host].alive {
                true => self.work(core, &op),
                false => Err(libc::ECANCELED),
            };
            op.phase = Phase::Told(result.unwrap_or_else(|errno| -errno));
        }
        if !self.cores[core].open {
            return self.end(core, op, -libc::ECANCELED, 0);
        }
        self.cores[core].ops.insert(id, op);
        self.cores[core].poked.insert(id);
    }

    /// A kernel writes back by itself, too: what was not synced is then as durable as what was.
    fn write_back_some(&mut self, core: usize) {
        let host = self.cores[core].host;
        self.hosts[host].changes += 1;
        if self.hosts[host].changes >= self.changes_max {
            self.hosts[host].changes = 0;
            let mut rng = self.rng.fork();
            self.hosts[host].disk.write_back(&mut rng);
        }
    }

    fn work(&mut self, core: usize, op: &Op) -> Result<i32, i32> {
        if !matches!(op.sqe.opcode, opcode::Read::CODE | opcode::Readv::CODE) {
            self.write_back_some(core);
        }
        let (sqe, host, now) = (&op.sqe, self.cores[core].host, self.wall());
        let dir = |state: &State, nth: usize| state.dir_of(op, nth);
        match sqe.opcode {
            opcode::Read::CODE => self.read_file(op, host, &[(sqe.addr, sqe.len as usize)]),
            opcode::Readv::CODE => {
                self.read_file(op, host, &memory::pieces(sqe.addr, sqe.len as usize))
            }
            opcode::Write::CODE => self.write_file(op, host, &[(sqe.addr, sqe.len as usize)]),
            opcode::Writev::CODE => {
                self.write_file(op, host, &memory::pieces(sqe.addr, sqe.len as usize))
            }
            opcode::Fsync::CODE => self.sync_file(op, host),
            opcode::Fallocate::CODE => {
                let file = op.files[0].file()?.borrow();
                let disk = &mut self.hosts[host].disk;
                disk.allocate(&file, sqe.len as i32, sqe.off, sqe.addr, now)
                    .map(|()| 0)
            }
            opcode::Ftruncate::CODE => {
                let file = op.files[0].file()?.borrow();
                let disk = &mut self.hosts[host].disk;
                disk.set_len(&file, sqe.off, now).map(|()| 0)
            }
            opcode::OpenAt::CODE => self.open(op, host, sqe.op_flags as i32, sqe.len, 0),
            opcode::OpenAt2::CODE => {
                let how: OpenHow = memory::get(sqe.off);
                self.open(op, host, how.flags as i32, how.mode as u32, how.resolve)
            }
            opcode::Statx::CODE => self.stat(op, host),
            opcode::UnlinkAt::CODE => {
                let (at, path) = (dir(self, 0)?, memory::c_str(sqe.addr));
                let directory = sqe.op_flags as i32 & libc::AT_REMOVEDIR != 0;
                // The name of a Unix socket stands in the network's table, not on the disk.
                let net_id = self.hosts[host].id;
                if !directory && self.net.unbind_path(net_id, &path).is_ok() {
                    return Ok(0);
                }
                let disk = &mut self.hosts[host].disk;
                disk.remove(at, &path, directory, now).map(|()| 0)
            }
            opcode::MkDirAt::CODE => {
                let (at, path) = (dir(self, 0)?, memory::c_str(sqe.addr));
                let disk = &mut self.hosts[host].disk;
                disk.make_dir(at, &path, sqe.len, now).map(|()| 0)
            }
            opcode::SymlinkAt::CODE => {
                let (target, path) = (memory::c_str(sqe.addr), memory::c_str(sqe.off));
                let at = dir(self, 0)?;
                let disk = &mut self.hosts[host].disk;
                disk.symlink(&target, at, &path, now).map(|()| 0)
            }
            opcode::RenameAt::CODE | opcode::LinkAt::CODE => self.two_paths(op, host),
            other => unreachable!("operation {other} is no worker's"),
        }
    }

    /// The directory at which a relative path begins: the nth of those that the entry names.
    fn dir_of(&self, op: &Op, nth: usize) -> Result<Option<super::disk::Ino>, i32> {
        match op.files.get(nth) {
            None => Ok(None),
            Some(object) => Ok(Some(
                object.file().map_err(|_| libc::ENOTDIR)?.borrow().ino(),
            )),
        }
    }

    fn two_paths(&mut self, op: &Op, host: usize) -> Result<i32, i32> {
        let (from, to) = (memory::c_str(op.sqe.addr), memory::c_str(op.sqe.off));
        let first_is_dir = op.sqe.fd != libc::AT_FDCWD;
        let second_is_dir = op.sqe.len as i32 != libc::AT_FDCWD;
        let old = if first_is_dir {
            self.dir_of(op, 0)?
        } else {
            None
        };
        let new = match second_is_dir {
            true => self.dir_of(op, usize::from(first_is_dir))?,
            false => None,
        };
        let now = self.wall();
        let disk = &mut self.hosts[host].disk;
        match op.sqe.opcode {
            opcode::RenameAt::CODE => disk.rename((old, &from), (new, &to), now),
            _ => disk.link((old, &from), (new, &to), now),
        }
        .map(|()| 0)
    }

    fn read_file(&mut self, op: &Op, host: usize, pieces: &[(u64, usize)]) -> Result<i32, i32> {
        if self.roll(|faults| faults.read_fails) {
            return Err(libc::EIO);
        }
        let mut room: usize = pieces.iter().map(|piece| piece.1).sum();
        let file = op.files[0].file()?;
        let unit = unit(file.borrow().flags());
        check_alignment(pieces, unit)?;
        if room > unit && self.roll(|faults| faults.short_read) {
            room = unit * (1 + self.rng.index(room / unit));
        }
        let offset = position(op.sqe.off);
        let bytes = self.hosts[host]
            .disk
            .read(&mut file.borrow_mut(), offset, room)?;
        memory::scatter(pieces, &bytes);
        Ok(bytes.len() as i32)
    }

    fn write_file(&mut self, op: &Op, host: usize, pieces: &[(u64, usize)]) -> Result<i32, i32> {
        if self.roll(|faults| faults.write_fails) {
            return Err(libc::EIO);
        }
        if self.roll(|faults| faults.no_space) {
            return Err(libc::ENOSPC);
        }
        let file = op.files[0].file()?;
        let unit = unit(file.borrow().flags());
        check_alignment(pieces, unit)?;
        let mut bytes = memory::gather(pieces);
        if bytes.len() > unit && self.roll(|faults| faults.short_write) {
            let units = bytes.len() / unit;
            bytes.truncate(unit * (1 + self.rng.index(units)));
        }
        let offset = position(op.sqe.off);
        let now = self.wall();
        let disk = &mut self.hosts[host].disk;
        let n = disk.write(&mut file.borrow_mut(), offset, &bytes, now)?;
        Ok(n as i32)
    }

    fn sync_file(&mut self, op: &Op, host: usize) -> Result<i32, i32> {
        const DATASYNC: u32 = 1;
        let file = op.files[0].file().map_err(|_| libc::EINVAL)?;
        let fails = self.roll(|faults| faults.sync_fails);
        let disk = &mut self.hosts[host].disk;
        if fails {
            disk.fail_next_sync(Some(file.borrow().ino()), libc::EIO);
        }
        let data_only = op.sqe.op_flags & DATASYNC != 0;
        disk.sync(&mut file.borrow_mut(), data_only).map(|()| 0)
    }

    fn open(
        &mut self,
        op: &Op,
        host: usize,
        flags: i32,
        mode: u32,
        resolve: u64,
    ) -> Result<i32, i32> {
        if !self.has_number(host) {
            return Err(libc::EMFILE);
        }
        let (at, path) = (self.dir_of(op, 0)?, memory::c_str(op.sqe.addr));
        let now = self.wall();
        let disk = &mut self.hosts[host].disk;
        let file = disk.open(at, &path, flags, mode, resolve, now)?;
        self.install(host, What::File(RefCell::new(file)))
    }

    fn stat(&mut self, op: &Op, host: usize) -> Result<i32, i32> {
        let (path, flags) = (memory::c_str(op.sqe.addr), op.sqe.op_flags as i32);
        let disk = &mut self.hosts[host].disk;
        let stat = match op.files.first() {
            Some(object) if path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 => {
                disk.stat(&object.file()?.borrow())
            }
            _ => {
                let at = self.dir_of(op, 0)?;
                let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
                self.hosts[host].disk.stat_at(at, &path, follow)?
            }
        };
        let mut answer = memory::empty_statx();
        stat.fill(&mut answer);
        memory::put(op.sqe.off, answer);
        Ok(0)
    }

    /// Begins the worker's time of an operation.
    pub(super) fn begin_work(&mut self, core: usize, id: u64, mut op: Op) {
        op.phase = Phase::Worker;
        let end = self.now + self.working_time(core, &op);
        self.note_write(core, &op, end);
        self.cores[core].ops.insert(id, op);
        self.at(end, Event::Worked { core, op: id });
    }
}

/// Bytes that a read or write of this open file comes in.
fn unit(flags: i32) -> usize {
    match flags & libc::O_DIRECT {
        0 => 1,
        _ => SECTOR,
    }
}

/// The disk itself reads and writes memory opened with `O_DIRECT`: where it begins, and how long
/// it is, matters to it.
fn check_alignment(pieces: &[(u64, usize)], unit: usize) -> Result<(), i32> {
    let fits = |&(addr, len): &(u64, usize)| addr % unit as u64 == 0 && len % unit == 0;
    match pieces.iter().all(fits) {
        true => Ok(()),
        false => Err(libc::EINVAL),
    }
}

/// An offset of an entry: `u64::MAX` is the file's own position.
fn position(offset: u64) -> Option<u64> {
    (offset != u64::MAX).then_some(offset)
}
