//! System calls that are refused, or answered by the test.
//!
//! A filter binds the calling thread and those that it starts. [`deny`] refuses one system call
//! for good, [`kill`] ends who makes it; [`answer_enters`] asks a second thread about each
//! `io_uring_enter`.

use std::io;
use std::os::fd::RawFd;
use std::sync::mpsc;

pub const SETUP: u32 = 425;
pub const ENTER: u32 = 426;
pub const REGISTER: u32 = 427;

const LOAD_WORD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const USER_NOTIFICATION: u32 = 0x7fc0_0000;

/// The system call `number` fails with `errno` from now on, on this thread.
pub fn deny(number: u32, errno: i32) {
    install(number, ERRNO | errno as u32, 0).expect("a filter can be set");
}

/// The system call `number` ends the process from now on, if this thread makes it.
pub fn kill(number: u32) {
    install(number, KILL_PROCESS, 0).expect("a filter can be set");
}

fn install(number: u32, verdict: u32, flags: u32) -> io::Result<RawFd> {
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        // The first word of `struct seccomp_data` is the system call's number.
        step(LOAD_WORD, 0, 0, 0),
        step(JUMP_IF_EQUAL, 0, 1, number),
        step(RETURN, 0, 0, verdict),
        step(RETURN, 0, 0, ALLOW),
    ];
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: changes a flag of this thread.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    let set = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the kernel copies the program during the call.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, set, flags, &program) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as RawFd)
    }
}

/// Of every `every` calls of `io_uring_enter` on this thread, one fails with the next errno of
/// `errnos`; the others go through. Returns how many failed, when `body` is done.
///
/// The ring's owner is this thread: call it before the runtime is built, or after.
pub fn answer_enters<T>(every: u64, errnos: &'static [i32], body: impl FnOnce() -> T) -> (T, u64) {
    let (give, take) = mpsc::channel();
    // Started first: a thread that is started later would be filtered too.
    let judge = std::thread::spawn(move || judge(take.recv().expect("sent below"), every, errnos));
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;
    let listener = install(ENTER, USER_NOTIFICATION, flags).expect("a filter can be set");
    let (stop, stopped) = pipe();
    give.send((listener, stopped)).expect("the judge waits");
    let result = body();
    // SAFETY: writes one byte of a constant into our own pipe.
    unsafe { libc::write(stop, [0u8].as_ptr().cast(), 1) };
    (result, judge.join().expect("the judge"))
}

fn pipe() -> (RawFd, RawFd) {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two numbers.
    unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
    (ends[1], ends[0])
}

fn judge((listener, stopped): (RawFd, RawFd), every: u64, errnos: &[i32]) -> u64 {
    let (mut seen, mut failed) = (0u64, 0u64);
    loop {
        let entry = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut both = [entry(listener), entry(stopped)];
        // SAFETY: the kernel writes to two live entries.
        unsafe { libc::poll(both.as_mut_ptr(), 2, -1) };
        if both[0].revents & libc::POLLIN == 0 {
            if both[1].revents != 0 {
                return failed;
            }
            continue;
        }
        // SAFETY: the kernel demands that it is all zero.
        let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one notification.
        if unsafe { libc::ioctl(listener, RECEIVE, &mut call) } != 0 {
            continue;
        }
        seen += 1;
        let refuse = seen % every == 0;
        // SAFETY: all zero is a valid answer.
        let mut answer: libc::seccomp_notif_resp = unsafe { std::mem::zeroed() };
        answer.id = call.id;
        if refuse {
            answer.error = -errnos[(failed % errnos.len() as u64) as usize];
            failed += 1;
        } else {
            answer.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        }
        // SAFETY: the kernel reads one answer.
        unsafe { libc::ioctl(listener, SEND, &answer) };
    }
}

/// `SECCOMP_IOCTL_NOTIF_RECV` and `SECCOMP_IOCTL_NOTIF_SEND`.
const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;
