//! The operations that the crate asks of the kernel: by name, and who may have them.
//!
//! One table ([`OPERATIONS`]). The driver consults it when an entry is queued ([`Barred`]): what
//! this kernel lacks, what the environment masks and what the builder's restriction leaves out is
//! answered here, with a sentence that names the cure, instead of the kernel's bare number. A
//! restricted kernel refuses it a second time; nothing relies on this answer for that.
//!
//! To add an operation to the crate, add its row; a test compares the table with the source.

use super::restrict::Restrict;
use super::slot::Cqe;
use io_uring::{Probe, opcode};
use std::fmt;
use std::io;

/// What the table says of an operation.
struct Operation {
    /// The kernel's name in lower case, without `IORING_OP_`.
    name: &'static str,
    code: u8,
    /// The first Linux that has it.
    since: &'static str,
    /// The capabilities that bring it, any of them; the first one is what a refusal recommends.
    brought_by: Restrict,
}

const fn row(name: &'static str, code: u8, since: &'static str, by: Restrict) -> Operation {
    Operation {
        name,
        code,
        since,
        brought_by: by,
    }
}

#[rustfmt::skip]
const OPERATIONS: &[Operation] = &[
    row("nop", opcode::Nop::CODE, "5.1", Restrict::OWN),
    row("async_cancel", opcode::AsyncCancel::CODE, "5.5", Restrict::OWN),
    row("close", opcode::Close::CODE, "5.6", Restrict::OWN),
    row("poll", opcode::PollAdd::CODE, "5.1", Restrict::OWN),
    row("accept", opcode::Accept::CODE, "5.5", Restrict::LISTEN),
    row("connect", opcode::Connect::CODE, "5.5", Restrict::CONNECT),
    row("link_timeout", opcode::LinkTimeout::CODE, "5.5", Restrict::STREAM),
    row("recv", opcode::Recv::CODE, "5.6", Restrict::STREAM),
    row("send", opcode::Send::CODE, "5.6", Restrict::STREAM),
    row("sendmsg", opcode::SendMsg::CODE, "5.3", Restrict::STREAM),
    row("recvmsg", opcode::RecvMsg::CODE, "5.3", Restrict::STREAM),
    row("send_zc", opcode::SendZc::CODE, "6.0", Restrict::STREAM),
    row("openat", opcode::OpenAt::CODE, "5.6", Restrict::ANY_FILE),
    row("openat2", opcode::OpenAt2::CODE, "5.6", Restrict::ANY_FILE),
    row("statx", opcode::Statx::CODE, "5.6", Restrict::ANY_FILE),
    row("read", opcode::Read::CODE, "5.6", Restrict::READS),
    row("readv", opcode::Readv::CODE, "5.1", Restrict::ANY_FILE),
    row("write", opcode::Write::CODE, "5.6", Restrict::WRITES),
    row("writev", opcode::Writev::CODE, "5.1", Restrict::WRITE),
    row("fsync", opcode::Fsync::CODE, "5.1", Restrict::WRITE),
    row("fallocate", opcode::Fallocate::CODE, "5.6", Restrict::WRITE),
    row("ftruncate", opcode::Ftruncate::CODE, "6.9", Restrict::WRITE),
    row("unlinkat", opcode::UnlinkAt::CODE, "5.11", Restrict::WRITE),
    row("mkdirat", opcode::MkDirAt::CODE, "5.15", Restrict::WRITE),
    row("renameat", opcode::RenameAt::CODE, "5.11", Restrict::WRITE),
    row("linkat", opcode::LinkAt::CODE, "5.15", Restrict::WRITE),
    row("waitid", opcode::WaitId::CODE, "6.7", Restrict::PROCESS),
    row("symlinkat", opcode::SymlinkAt::CODE, "5.15", Restrict::WRITE),
];

/// Operations that the driver itself queues: there is no going on without them.
const INDISPENSABLE: [u8; 3] = [
    opcode::Nop::CODE,
    opcode::AsyncCancel::CODE,
    opcode::Close::CODE,
];

/// A set of operation codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpSet(u128);

impl OpSet {
    fn insert(&mut self, code: u8) {
        self.0 |= 1 << code;
    }

    fn has(self, code: u32) -> bool {
        self.0.checked_shr(code).is_some_and(|rest| rest & 1 == 1)
    }

    pub(crate) fn has_name(self, name: &str) -> bool {
        let named = OPERATIONS.iter().find(|operation| operation.name == name);
        named.is_some_and(|operation| self.has(operation.code.into()))
    }

    /// What of the table this kernel does not have.
    pub(crate) fn missing_in(probe: &Probe) -> OpSet {
        let mut missing = OpSet::default();
        for operation in OPERATIONS {
            if !probe.is_supported(operation.code) {
                missing.insert(operation.code);
            }
        }
        missing
    }

    /// Adds the operation of this name; whether there is one that can be missed.
    pub(crate) fn insert_by_name(&mut self, name: &str) -> bool {
        let found = OPERATIONS
            .iter()
            .find(|operation| operation.name == name)
            .filter(|operation| !INDISPENSABLE.contains(&operation.code));
        if let Some(operation) = found {
            self.insert(operation.code);
        }
        found.is_some()
    }
}

/// The name of an operation of the table.
pub(crate) fn name(code: u8) -> Option<&'static str> {
    let found = OPERATIONS.iter().find(|operation| operation.code == code);
    found.map(|operation| operation.name)
}

/// Whether the entry's `fd` is a descriptor: a child's end is asked for by the number of its
/// process.
pub(crate) fn has_descriptor(code: u8) -> bool {
    code != opcode::WaitId::CODE && code != opcode::Nop::CODE
}

/// Whether an operation of the table has this name.
#[cfg(feature = "sim")]
pub(crate) fn is_name(name: &str) -> bool {
    OPERATIONS.iter().any(|operation| operation.name == name)
}

/// The names that [`OpSet::insert_by_name`] takes, with commas between them.
pub(crate) fn maskable_names() -> String {
    let names = OPERATIONS
        .iter()
        .filter(|operation| !INDISPENSABLE.contains(&operation.code))
        .map(|operation| operation.name);
    names.collect::<Vec<_>>().join(", ")
}

/// The codes that a ring with this restriction has to allow, of those that this kernel knows.
pub(crate) fn allowed(restrict: Restrict, missing: OpSet) -> impl Iterator<Item = u8> {
    OPERATIONS
        .iter()
        .filter(move |operation| restrict.meets(operation.brought_by))
        .map(|operation| operation.code)
        .filter(move |&code| !missing.has(code.into()))
}

/// What a driver does not pass on to its kernel, and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Barred {
    any: bool,
    missing: OpSet,
    masked: OpSet,
    forbidden: OpSet,
}

impl Barred {
    pub(crate) fn new(missing: OpSet, masked: OpSet, restrict: Option<Restrict>) -> Barred {
        let mut forbidden = OpSet::default();
        if let Some(restrict) = restrict {
            for operation in OPERATIONS {
                if !restrict.meets(operation.brought_by) {
                    forbidden.insert(operation.code);
                }
            }
        }
        Barred {
            any: [missing, masked, forbidden] != [OpSet::default(); 3],
            missing,
            masked,
            forbidden,
        }
    }

    /// The answer to an entry with this code, if it is not to be queued. Inlined: where nothing is
    /// barred this is one look at a bool.
    #[inline]
    pub(crate) fn answer(&self, code: u32) -> Option<Cqe> {
        if self.any { self.look(code) } else { None }
    }

    fn look(&self, code: u32) -> Option<Cqe> {
        let why = if self.forbidden.has(code) {
            Why::Forbidden
        } else if self.masked.has(code) {
            Why::Masked
        } else if self.missing.has(code) {
            Why::Missing
        } else {
            return None;
        };
        let code = u8::try_from(code).expect("a set has codes below 128");
        Some(Refused { code, why }.to_cqe())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Missing,
    Masked,
    Forbidden,
    /// The kernel took it and gave it up, although nobody had asked for that.
    GivenUp,
}

/// The error of an operation that was not performed. Its text names the cure.
#[derive(Clone, Copy)]
struct Refused {
    code: u8,
    why: Why,
}

/// Results below those of the kernel, whose numbers end at 4095.
const FIRST: i32 = -0x1_0000;
const PER_CAUSE: i32 = 256;

impl Refused {
    /// How it travels, like an answer of the kernel's.
    fn to_cqe(self) -> Cqe {
        Cqe {
            result: FIRST - self.why as i32 * PER_CAUSE - i32::from(self.code),
            flags: 0,
            buffer_at: 0,
        }
    }

    fn of_result(result: i32) -> Option<Refused> {
        let word = FIRST.checked_sub(result)?;
        let why = match word.checked_div(PER_CAUSE) {
            Some(0) if word >= 0 => Why::Missing,
            Some(1) => Why::Masked,
            Some(2) => Why::Forbidden,
            Some(3) => Why::GivenUp,
            _ => return None,
        };
        let code = (word % PER_CAUSE) as u8;
        Some(Refused { code, why })
    }

    fn operation(self) -> &'static Operation {
        OPERATIONS
            .iter()
            .find(|operation| operation.code == self.code)
            .expect("only operations of the table are barred")
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.why, self.operation()) {
            (Why::Missing, Operation { name, since, .. }) => write!(
                f,
                "this kernel lacks the operation `{name}` of io_uring, which Linux {since} \
                 brought: run on that or a newer one"
            ),
            (Why::Masked, Operation { name, since, .. }) => write!(
                f,
                "the operation `{name}` of io_uring (Linux {since}) is masked: take it out of the \
                 environment variable CORERING_MASK"
            ),
            (
                Why::Forbidden,
                Operation {
                    name, brought_by, ..
                },
            ) => write!(
                f,
                "this runtime is restricted, and the operation `{name}` of io_uring is not in its \
                 list: add {} to what `Builder::restrict` is given",
                brought_by.recommendation()
            ),
            (Why::GivenUp, _) => f.write_str(
                "the kernel gave the operation up, as it does when it cannot start a worker \
                 thread for it: raise the limit on processes (`ulimit -u`, `TasksMax=`), or try \
                 again when others have ended",
            ),
        }
    }
}

impl fmt::Debug for Refused {
    /// The text: what `unwrap` shows shall name the cure, too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> io::Error {
        let kind = match refused.why {
            Why::Forbidden => io::ErrorKind::PermissionDenied,
            Why::Missing | Why::Masked => io::ErrorKind::Unsupported,
            Why::GivenUp => io::ErrorKind::QuotaExceeded,
        };
        io::Error::new(kind, refused)
    }
}

impl Cqe {
    /// Stands for a cancellation that nobody asked for: the kernel's own word for it would say
    /// that somebody did.
    pub(super) fn given_up() -> Cqe {
        let (code, why) = (opcode::Nop::CODE, Why::GivenUp);
        Refused { code, why }.to_cqe()
    }
}

/// What made an operation fail, small enough to be kept and told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure(i32);

impl Failure {
    /// Of a completion whose result is an error.
    pub(crate) fn of(cqe: Cqe) -> Failure {
        debug_assert!(cqe.result < 0, "this one has succeeded");
        Failure(cqe.result)
    }

    /// Of an error that this crate has made from a completion.
    pub(crate) fn of_error(error: &io::Error) -> Failure {
        if let Some(errno) = error.raw_os_error() {
            return Failure(-errno);
        }
        let refused = error.get_ref().and_then(|inner| inner.downcast_ref());
        Failure(refused.map_or(Cqe::GONE.result, |refused: &Refused| {
            refused.to_cqe().result
        }))
    }

    /// The error, as often as it is asked for.
    pub(crate) fn to_error(self) -> io::Error {
        if self.0 == Cqe::GONE.result {
            return super::gone();
        }
        match Refused::of_result(self.0) {
            Some(refused) => refused.into(),
            None => io::Error::from_raw_os_error(-self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_travels_as_a_result() {
        for why in [Why::Missing, Why::Masked, Why::Forbidden] {
            for operation in OPERATIONS {
                let cqe = Refused {
                    code: operation.code,
                    why,
                }
                .to_cqe();
                let error = cqe.count().expect_err("refused");
                assert!(error.to_string().contains(operation.name), "{error}");
                assert!(error.raw_os_error().is_none());
                let again = Failure::of_error(&error).to_error();
                assert_eq!(again.to_string(), error.to_string());
                assert_eq!(again.kind(), error.kind());
            }
        }
        for errno in [1, libc::EACCES, 4095] {
            let cqe = Cqe {
                result: -errno,
                ..Cqe::GONE
            };
            assert_eq!(Failure::of(cqe).to_error().raw_os_error(), Some(errno));
        }
        let gone = Cqe::GONE.count().expect_err("gone").to_string();
        assert_eq!(Failure::of(Cqe::GONE).to_error().to_string(), gone);
    }

    #[test]
    fn barred_is_what_was_named() {
        let mut masked = OpSet::default();
        assert!(masked.insert_by_name("fallocate"));
        for name in ["nop", "close", "async_cancel", "no such operation"] {
            assert!(!masked.insert_by_name(name), "{name}");
        }
        let open = Barred::new(OpSet::default(), OpSet::default(), None);
        let barred = Barred::new(OpSet::default(), masked, Some(Restrict::read_files()));
        for operation in OPERATIONS {
            let code = u32::from(operation.code);
            assert_eq!(open.answer(code), None);
            let expected = !Restrict::read_files().meets(operation.brought_by)
                || operation.name == "fallocate";
            assert_eq!(
                barred.answer(code).is_some(),
                expected,
                "{}",
                operation.name
            );
        }
        assert_eq!(
            barred.answer(200),
            None,
            "codes beyond the sets are nobody's"
        );
    }

    /// What `src/op` and `src/driver` build entries of stands in the table.
    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "a test reads its files the plain way"
    )]
    fn every_operation_has_its_row() {
        /// The crate's names of entries that share another one's code.
        const SAME: [(&str, &str); 4] = [
            ("AcceptMulti", "Accept"),
            ("AsyncCancel2", "AsyncCancel"),
            ("RecvMsgMulti", "RecvMsg"),
            ("RecvMulti", "Recv"),
        ];
        let own = include_str!("operations.rs");
        let mut seen = 0;
        for room in ["src/op", "src/driver"] {
            let room = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(room);
            for file in std::fs::read_dir(room).expect("the source is here") {
                let path = file.expect("readable").path();
                if path.extension().is_none_or(|extension| extension != "rs") {
                    continue;
                }
                let text = std::fs::read_to_string(&path).expect("readable");
                // Tests ask for what is in no list, too.
                let text = text.split("#[cfg(test)]").next().unwrap_or_default();
                for (at, _) in text.match_indices("opcode::") {
                    let name = &text[at + "opcode::".len()..];
                    let end = name.find(|c: char| !c.is_ascii_alphanumeric());
                    let name = &name[..end.expect("a file ends with a brace")];
                    let name = SAME
                        .iter()
                        .find(|same| same.0 == name)
                        .map_or(name, |s| s.1);
                    let row = format!("opcode::{name}::CODE, \"");
                    let known = name.is_empty() || own.contains(&row);
                    assert!(
                        known,
                        "{}: `{name}` has no row in OPERATIONS",
                        path.display()
                    );
                    seen += 1;
                }
            }
        }
        assert!(seen > 30, "the source was read: {seen}");
    }
}
