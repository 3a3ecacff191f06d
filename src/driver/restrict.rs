//! What a restricted ring may do: sets of operations, named by what a program needs them for.

use super::operations::{OpSet, allowed};
use super::ring::UNREGISTER_RING_FDS;
use io_uring::IoUring;
use io_uring::register::Restriction;
use io_uring::squeue::Flags;
use std::fmt;
use std::io;
use std::ops::{BitOr, BitOrAssign};

/// What a runtime's rings may be asked for; the argument of
/// [`Builder::restrict`](crate::Builder::restrict).
///
/// Sets are joined with `|`. What the runtime itself needs (to close, to cancel, to wait until a
/// descriptor is ready, to wake its cores) is in each of them. What is in none, the kernel refuses
/// to the rings for as long as they live: whoever takes the process over cannot widen the list.
///
/// A set is a list of io_uring's operations, and no more than that. It does not look at arguments:
/// [`read_files`](Restrict::read_files) leaves out the write, but an open may still create or
/// truncate. It does not cover plain system calls either, of which the runtime makes a few
/// (`socket`, `bind`, `setsockopt`, `fchmod`, reading a directory); those are a seccomp filter's
/// matter. The two belong together: a filter sees no operation of a ring.
///
/// ```
/// use corering::{Restrict, Runtime};
///
/// let server_of_files = Restrict::listen() | Restrict::read_files();
/// # fn f(server_of_files: Restrict) -> Result<(), corering::BuildError> {
/// let runtime = Runtime::builder().restrict(server_of_files).build()?;
/// # Ok(()) }
/// assert_ne!(server_of_files, Restrict::all_used());
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[must_use = "it restricts nothing before it is given to `Builder::restrict`"]
pub struct Restrict(u8);

/// The bits. Each has a public function, except [`Restrict::OWN`], which is always set.
impl Restrict {
    pub(super) const OWN: Restrict = Restrict(1);
    pub(super) const LISTEN: Restrict = Restrict(1 << 1);
    pub(super) const CONNECT: Restrict = Restrict(1 << 2);
    const READ: Restrict = Restrict(1 << 3);
    pub(super) const WRITE: Restrict = Restrict(1 << 4);
    /// Connected sockets, whoever connected them.
    pub(super) const STREAM: Restrict = Restrict(Restrict::LISTEN.0 | Restrict::CONNECT.0);
    pub(super) const ANY_FILE: Restrict = Restrict(Restrict::READ.0 | Restrict::WRITE.0);
    pub(super) const PROCESS: Restrict = Restrict(1 << 5);
    /// Files, and pipes to children.
    pub(super) const READS: Restrict = Restrict(Restrict::ANY_FILE.0 | Restrict::PROCESS.0);
    pub(super) const WRITES: Restrict = Restrict(Restrict::WRITE.0 | Restrict::PROCESS.0);
}

impl Restrict {
    /// What the runtime itself needs: tasks, timers, channels and signals work, and nothing else.
    pub const fn runtime_only() -> Restrict {
        Restrict::OWN
    }

    /// Accepting connections, receiving and sending; not connecting to others.
    pub const fn listen() -> Restrict {
        Restrict::OWN.with(Restrict::LISTEN)
    }

    /// Connecting to others, receiving and sending; not accepting.
    pub const fn connect() -> Restrict {
        Restrict::OWN.with(Restrict::CONNECT)
    }

    /// Everything of [`net`](crate::net).
    pub const fn net() -> Restrict {
        Restrict::listen().with(Restrict::CONNECT)
    }

    /// Opening, reading, metadata and listing of directories.
    pub const fn read_files() -> Restrict {
        Restrict::OWN.with(Restrict::READ)
    }

    /// Everything of [`fs`](crate::fs).
    pub const fn files() -> Restrict {
        Restrict::read_files().with(Restrict::WRITE)
    }

    /// Children, their pipes, and the standard streams. Reading and writing without an open: of
    /// what files the program has open already, the ring sees no difference to a pipe.
    pub const fn process() -> Restrict {
        Restrict::OWN.with(Restrict::PROCESS)
    }

    /// Everything that this crate ever asks of a ring: its whole interface works, and what else
    /// the kernel's rings can do (there are twice as many operations) is shut.
    pub const fn all_used() -> Restrict {
        Restrict::net()
            .with(Restrict::files())
            .with(Restrict::PROCESS)
    }

    /// The sets that the environment variable `CORERING_RESTRICT` names, with commas between them,
    /// for runtimes whose builder names none.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is no set's.
    pub(crate) fn of_environment() -> io::Result<Option<Restrict>> {
        let Ok(names) = std::env::var("CORERING_RESTRICT") else {
            return Ok(None);
        };
        let mut all = Restrict::runtime_only();
        for name in names.split(',').map(str::trim) {
            all |= match name {
                "" | "runtime_only" => Restrict::runtime_only(),
                "listen" => Restrict::listen(),
                "connect" => Restrict::connect(),
                "net" => Restrict::net(),
                "read_files" => Restrict::read_files(),
                "files" => Restrict::files(),
                "process" => Restrict::process(),
                "all_used" => Restrict::all_used(),
                unknown => {
                    let what = format!(
                        "the environment variable CORERING_RESTRICT names `{unknown}`, which is \
                         no set: there are runtime_only, listen, connect, net, read_files, files, \
                         process and all_used"
                    );
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
                }
            };
        }
        Ok(Some(all))
    }

    const fn with(self, other: Restrict) -> Restrict {
        Restrict(self.0 | other.0)
    }

    /// Whether the two have anything in common.
    pub(super) fn meets(self, other: Restrict) -> bool {
        self.0 & other.0 != 0
    }

    /// The set to add for an operation that any of `self` brings, as source.
    pub(super) fn recommendation(self) -> &'static str {
        match self {
            Restrict::LISTEN => "`Restrict::listen()`",
            Restrict::CONNECT => "`Restrict::connect()`",
            Restrict::STREAM => "`Restrict::listen()`, `connect()` or `net()`",
            Restrict::WRITE => "`Restrict::files()`",
            Restrict::ANY_FILE => "`Restrict::read_files()` or `files()`",
            Restrict::READS => "`Restrict::read_files()`, `files()` or `process()`",
            Restrict::WRITES => "`Restrict::files()` or `process()`",
            Restrict::PROCESS => "`Restrict::process()`",
            _ => "`Restrict::all_used()`",
        }
    }

    /// Whether received bytes need the core's buffers.
    pub(super) fn receives(self) -> bool {
        self.meets(Restrict::STREAM)
    }

    /// The flags of an entry that its operations use.
    fn flags(self) -> Flags {
        let mut flags = Flags::SKIP_SUCCESS;
        if self.receives() {
            flags |= Flags::BUFFER_SELECT | Flags::IO_LINK;
        }
        if self.meets(Restrict::READS) {
            flags |= Flags::ASYNC;
        }
        flags
    }

    /// Gives the list to a ring that was made disabled, for good, and enables it on this thread.
    pub(super) fn enable(self, ring: &IoUring, missing: OpSet) -> io::Result<()> {
        /// From now on it answers that the ring is enabled.
        const ENABLE_RINGS: u8 = 12;
        let mut list: Vec<_> = allowed(self, missing).map(Restriction::sqe_op).collect();
        list.push(Restriction::sqe_flags_allowed(self.flags().bits()));
        // A ring's end takes an entry out of the thread's own table. And a list without register
        // operations would restrict none on kernels that keep the two kinds apart.
        list.extend([ENABLE_RINGS, UNREGISTER_RING_FDS].map(Restriction::register_op));
        ring.submitter().register_restrictions(&mut list)?;
        ring.submitter().register_enable_rings()
    }
}

impl BitOr for Restrict {
    type Output = Restrict;

    fn bitor(self, other: Restrict) -> Restrict {
        self.with(other)
    }
}

impl BitOrAssign for Restrict {
    fn bitor_assign(&mut self, other: Restrict) {
        *self = *self | other;
    }
}

impl fmt::Debug for Restrict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets = [
            (Restrict::LISTEN, "listen"),
            (Restrict::CONNECT, "connect"),
            (Restrict::READ, "read_files"),
            (Restrict::WRITE, "files"),
            (Restrict::PROCESS, "process"),
        ];
        let names = sets.iter().filter(|set| self.meets(set.0)).map(|set| set.1);
        f.write_str("Restrict(")?;
        f.write_str(&names.collect::<Vec<_>>().join(" | "))?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernel::Wait;
    use super::super::operations::Barred;
    use super::super::probe;
    use super::super::ring::{Ring, RingConfig};
    use super::*;
    use io_uring::{opcode, squeue, types};

    const BAD_FD: types::Fd = types::Fd(-1);

    fn ring(restrict: Restrict) -> Ring {
        let config = RingConfig {
            entries: 8,
            completions: 16,
            workers: [1, 1],
            disabled: true,
        };
        let features = probe::features().expect("io_uring works here");
        let ring = Ring::new(config, features).expect("a ring");
        let enabled = restrict.enable(ring.as_io_uring(), features.missing);
        enabled.expect("the kernel takes the list");
        ring
    }

    /// What the kernel itself says of an entry.
    fn ask(ring: &mut Ring, entry: squeue::Entry) -> i32 {
        assert!(ring.push(&entry.user_data(1 << 40)));
        loop {
            ring.enter(Wait::Forever).expect("entered");
            if let Some((_, cqe)) = ring.pop() {
                return cqe.result;
            }
        }
    }

    /// The kernel's own refusals, entry by entry, are those of the table.
    #[test]
    fn the_kernel_refuses_what_the_list_leaves_out() {
        let entries: [fn() -> squeue::Entry; 6] = [
            || opcode::Nop::new().build(),
            || opcode::Accept::new(BAD_FD, std::ptr::null_mut(), std::ptr::null_mut()).build(),
            || opcode::Connect::new(BAD_FD, std::ptr::null(), 0).build(),
            || opcode::Read::new(BAD_FD, std::ptr::null_mut(), 0).build(),
            || opcode::Fsync::new(BAD_FD).build(),
            || opcode::Close::new(BAD_FD).build(),
        ];
        let sets = [
            Restrict::runtime_only(),
            Restrict::listen(),
            Restrict::connect(),
            Restrict::net(),
            Restrict::read_files(),
            Restrict::files(),
            Restrict::process(),
            Restrict::all_used(),
        ];
        for set in sets {
            let mut ring = ring(set);
            let barred = Barred::new(OpSet::default(), OpSet::default(), Some(set));
            for entry in entries {
                let entry = entry();
                let code = entry.get_opcode();
                let refused = ask(&mut ring, entry) == -libc::EACCES;
                assert_eq!(refused, barred.answer(code).is_some(), "{set:?}, {code}");
            }
            // Whatever no room of this crate asks for.
            let entry = opcode::Splice::new(BAD_FD, -1, BAD_FD, -1, 0).build();
            assert_eq!(ask(&mut ring, entry), -libc::EACCES, "{set:?}");
            let drained = opcode::Nop::new().build().flags(Flags::IO_DRAIN);
            assert_eq!(ask(&mut ring, drained), -libc::EACCES, "{set:?}");
        }
    }

    #[test]
    fn sets_are_joined_and_told() {
        let mut set = Restrict::listen() | Restrict::read_files();
        assert_eq!(format!("{set:?}"), "Restrict(listen | read_files)");
        set |= Restrict::connect() | Restrict::files() | Restrict::process();
        assert_eq!(set, Restrict::all_used());
        assert_eq!(format!("{:?}", Restrict::runtime_only()), "Restrict()");
    }
}
