//! Names to addresses: `getaddrinfo` on one thread that is started at the first lookup; or a
//! resolver that the core was given ([`Driver::set_lookup`]).
//!
//! The C library's resolver blocks and has no other form, and it alone knows what this machine's
//! name service is configured to do. One thread for the process serves all cores, in order; it
//! ends when it has had nothing to do for a while.

#[cfg(feature = "dns-hickory")]
use super::Driver;
use super::sys;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;
#[cfg(feature = "dns-hickory")]
use std::{pin::Pin, rc::Rc};

/// How long the thread waits for another question before it ends.
const IDLE: Duration = Duration::from_secs(10);
/// Questions that may wait; more than that are refused.
const QUESTIONS_MAX: usize = 1024;

#[derive(Default)]
struct Desk {
    questions: VecDeque<Question>,
    /// The process whose thread serves; 0 if none does. (A forked child has no such thread.)
    served_in: u32,
}

struct Question {
    host: String,
    port: u16,
    answer: Arc<Mutex<Answer>>,
}

#[derive(Default)]
struct Answer {
    result: Option<io::Result<Vec<SocketAddr>>>,
    waker: Option<Waker>,
}

static DESK: Mutex<Desk> = Mutex::new(Desk {
    questions: VecDeque::new(),
    served_in: 0,
});
static MORE: Condvar = Condvar::new();

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A resolver of one core, which asks without blocking.
#[cfg(feature = "dns-hickory")]
pub(crate) type Lookup = dyn Fn(&str, u16) -> LookupFuture;

/// The addresses of a host, with the port; at least one.
#[cfg(feature = "dns-hickory")]
pub(crate) type LookupFuture = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>>>>;

#[cfg(feature = "dns-hickory")]
impl Driver {
    /// Who looks names up on this core; `None` for the machine's resolver.
    pub(crate) fn set_lookup(&self, lookup: Option<Rc<Lookup>>) {
        // Its destructor may do anything: nothing is borrowed any more when it runs.
        let before = self.0.lookup.replace(lookup);
        drop(before);
    }

    fn own_lookup(host: &str, port: u16) -> Option<LookupFuture> {
        let lookup = Driver::try_current()?.0.lookup.borrow().clone();
        lookup.map(|lookup| lookup(host, port))
    }
}

/// The addresses of a host, with this port, in the resolver's order; at least one.
pub(crate) async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    #[cfg(feature = "dns-hickory")]
    if let Some(looking) = Driver::own_lookup(host, port) {
        return looking.await;
    }
    #[cfg(feature = "sim")]
    if super::sim::is_here() {
        let found = super::sim::calls::lookup(host)?;
        return Ok(found
            .into_iter()
            .map(|ip| SocketAddr::new(ip, port))
            .collect());
    }
    let answer = Arc::new(Mutex::new(Answer::default()));
    ask(Question {
        host: host.to_owned(),
        port,
        answer: answer.clone(),
    })?;
    poll_fn(|cx| {
        let mut answer = lock(&answer);
        match answer.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                answer.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

fn ask(question: Question) -> io::Result<()> {
    let mut desk = lock(&DESK);
    if desk.questions.len() >= QUESTIONS_MAX {
        let what = "too many host names wait to be looked up: ask for fewer at a time";
        return Err(io::Error::new(io::ErrorKind::QuotaExceeded, what));
    }
    let process = std::process::id();
    if desk.served_in != process {
        // What stands there after a fork are the parent's questions.
        desk.questions.clear();
        std::thread::Builder::new()
            .name("corering-dns".into())
            .spawn(serve)?;
        desk.served_in = process;
    }
    desk.questions.push_back(question);
    MORE.notify_one();
    Ok(())
}

fn serve() {
    loop {
        let mut desk = lock(&DESK);
        let Some(question) = desk.questions.pop_front() else {
            let waited = MORE.wait_timeout(desk, IDLE);
            let (mut desk, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() && desk.questions.is_empty() {
                desk.served_in = 0;
                return;
            }
            continue;
        };
        drop(desk);
        // Nobody else has it: the asker is gone.
        if Arc::strong_count(&question.answer) > 1 {
            let result = sys::getaddrinfo(&question.host, question.port);
            let mut answer = lock(&question.answer);
            answer.result = Some(result);
            let waker = answer.waker.take();
            drop(answer);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}
