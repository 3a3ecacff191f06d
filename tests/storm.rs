//! A storm of drops on the real ring: every call that its table calls safe to drop is dropped at
//! every point of its life, under load, and nothing is lost, doubled, leaked or left behind.
//!
//! Rules:
//! 1. A call is dropped before its first poll, after it, a few turns later without a look, after a
//!    look in each turn, or after a moment ([`Storm::give_up`]); the dice say which.
//! 2. What is dropped is followed by what is not, and that one must find everything: each byte,
//!    datagram and connection carries its number.
//! 3. A send that was dropped either did nothing, or the stream fails closed.
//!
//! All kinds run at once, on two cores, with rings and buffers of a random number.
//! `CORERING_SCALE=full` drops a million times.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::fs::{File, OpenOptions};
use corering::net::{TcpListener, TcpStream, Torn, UdpSocket, UnixStream};
use corering::task::{JoinSet, yield_now};
use corering::time::{sleep, timeout};
use corering::{Metrics, Runtime, spawn};
use harness::net::{listener, pair, small_pair};
use harness::{Case, Census, Rng, check_coded, coded_bytes, scaled};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsFd, FromRawFd};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const MICROS: Duration = Duration::from_micros(1);
const CORES: u64 = 2;
/// Connections of each core whose reads are dropped at the same time.
const STREAMS: u64 = 16;
const CONNECTORS: u64 = 6;
const OPENERS: u64 = 3;
const SENDERS: u64 = 2;
const DATAGRAM_SOCKETS: u64 = 2;
/// So many datagrams and descriptors are under way at most: the kernel drops none of them.
const UNDER_WAY_MAX: u64 = 16;

/// What is dropped.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Recv,
    Read,
    ReadOwned,
    Accept,
    Connect,
    Open,
    Send,
    RecvFrom,
    RecvFds,
}

/// Each kind, and its share of the drops in hundredths: the dear ones get a smaller one.
const SHARES: [(Kind, u64); 9] = [
    (Kind::Recv, 20),
    (Kind::Read, 16),
    (Kind::ReadOwned, 20),
    (Kind::Accept, 16),
    (Kind::Connect, 5),
    (Kind::Open, 5),
    (Kind::Send, 2),
    (Kind::RecvFrom, 12),
    (Kind::RecvFds, 4),
];

#[test]
fn drop_storm() {
    let drops = scaled(40_000, 1_000_000);
    Case::new("drop_storm")
        .quarantine()
        .seconds(60)
        .run(|| storm(drops));
}

fn storm(drops: u64) {
    let mut rng = Rng::new();
    drop(Runtime::builder().build().expect("io_uring works here"));
    let folder = Folder::new();
    let (entries, buffers) = (8 << rng.below(6), 4 << rng.below(7));
    println!("{entries} entries, {buffers} buffers");
    let (begin, outside) = (Instant::now(), Census::take());
    let mut runtime = Runtime::builder()
        .cores(CORES as usize)
        .pin(false)
        .ring_entries(entries)
        .recv_buffers(buffers, 4096)
        .build()
        .expect("io_uring works here");
    runtime.block_on(sleep(MS));
    let census = Census::take();
    let seed = rng.next();
    let path = folder.0.clone();
    let figures = runtime.run(move |core| {
        let rng = Rng::from_seed(seed ^ core as u64);
        blow(core as u64, rng, drops / CORES, path.clone())
    });
    let mut all = Figures::default();
    figures.into_iter().for_each(|one| all.add(one));
    runtime.block_on(same_descriptors(&census));
    let report = runtime.shutdown(Duration::from_secs(5));
    assert!(report.is_clean(), "{report:?}");
    outside.assert_same();
    println!("{:?}: {all:?}", begin.elapsed());
    assert!(all.dropped.iter().sum::<u64>() >= drops, "{all:?}");
}

/// What a core has to tell at its end.
#[derive(Clone, Debug, Default)]
struct Figures {
    /// By [`Kind`].
    dropped: [u64; SHARES.len()],
    /// Calls that were given up only after they had been ready.
    came_first: u64,
    bytes: u64,
    connections: u64,
    abandoned_connections: u64,
    buffers_back: u64,
    cancelled_with_bytes: u64,
    torn: u64,
    untouched_sends: u64,
    files: u64,
    datagrams: u64,
    descriptors: u64,
}

impl Figures {
    fn add(&mut self, other: Figures) {
        for (own, more) in self.dropped.iter_mut().zip(other.dropped) {
            *own += more;
        }
        self.came_first += other.came_first;
        self.bytes += other.bytes;
        self.connections += other.connections;
        self.abandoned_connections += other.abandoned_connections;
        self.buffers_back += other.buffers_back;
        self.cancelled_with_bytes += other.cancelled_with_bytes;
        self.torn += other.torn;
        self.untouched_sends += other.untouched_sends;
        self.files += other.files;
        self.datagrams += other.datagrams;
        self.descriptors += other.descriptors;
    }
}

/// What the tasks of one core share.
struct Storm {
    drops: u64,
    figures: RefCell<Figures>,
}

impl Storm {
    fn is_over(&self, kind: Kind) -> bool {
        let share = SHARES[kind as usize].1;
        self.figures.borrow().dropped[kind as usize] >= (self.drops * share).div_ceil(100)
    }

    fn count(&self, act: impl FnOnce(&mut Figures)) {
        act(&mut self.figures.borrow_mut());
    }

    /// Polls the future as the dice say and drops it; what it gave before that, if anything.
    async fn give_up<F: Future>(&self, kind: Kind, rng: &mut Rng, future: F) -> Option<F::Output> {
        let output = looked_at(rng, pin!(future)).await;
        self.count(|figures| match output {
            None => figures.dropped[kind as usize] += 1,
            Some(_) => figures.came_first += 1,
        });
        output
    }
}

async fn looked_at<F: Future>(rng: &mut Rng, mut future: Pin<&mut F>) -> Option<F::Output> {
    match rng.below(6) {
        0 => None,
        // Queued, and dropped before the kernel has seen it.
        1 => poll_once(future).await,
        // The kernel has it, or is done with it, and nobody has looked.
        2 => {
            let output = poll_once(future).await;
            if output.is_none() {
                turns(rng.below(4)).await;
            }
            output
        }
        // Looked at again and again.
        3 => {
            for _ in 0..1 + rng.below(4) {
                if let Some(output) = poll_once(future.as_mut()).await {
                    return Some(output);
                }
                turns(1).await;
            }
            None
        }
        // Woken or not, until a moment is over.
        _ => timeout(MICROS * rng.below(200) as u32, future).await.ok(),
    }
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

async fn turns(count: u64) {
    for _ in 0..count {
        yield_now().await;
    }
}

/// All kinds at once on one core.
async fn blow(core: u64, mut rng: Rng, drops: u64, folder: PathBuf) -> Figures {
    let storm = Rc::new(Storm {
        drops,
        figures: RefCell::default(),
    });
    let mut set = JoinSet::new();
    for i in 0..STREAMS {
        let small = rng.once_in(2);
        let number = core * STREAMS + i;
        set.spawn(read_all(
            storm.clone(),
            Rng::from_seed(rng.next()),
            number,
            small,
        ));
    }
    set.spawn(accept_all(storm.clone(), Rng::from_seed(rng.next())));
    for i in 0..OPENERS {
        let rng = Rng::from_seed(rng.next());
        set.spawn(open_all(
            storm.clone(),
            rng,
            folder.clone(),
            core * OPENERS + i,
        ));
    }
    for i in 0..SENDERS {
        let rng = Rng::from_seed(rng.next());
        set.spawn(send_all(storm.clone(), rng, core * SENDERS + i));
    }
    for i in 0..DATAGRAM_SOCKETS {
        let rng = Rng::from_seed(rng.next());
        set.spawn(receive_all(storm.clone(), rng, core * DATAGRAM_SOCKETS + i));
    }
    set.spawn(take_all(storm.clone(), Rng::from_seed(rng.next())));
    while let Some(joined) = set.join_next().await {
        joined.expect("no task panics");
    }
    comes_to_rest().await;
    storm.figures.take()
}

/// Nothing is in flight, all buffers are back, and nothing unexpected was counted.
async fn comes_to_rest() {
    let begin = Instant::now();
    loop {
        let now = Metrics::current();
        let rests = now.in_flight == 0 && now.backlog == 0 && now.buffers_available == now.buffers;
        if rests && now.heap_receive_bytes == 0 && now.zero_copy_bytes == 0 {
            let unexpected = [
                now.stale_completions,
                now.close_failed,
                now.destructor_panics,
            ];
            assert_eq!(unexpected, [0; 3], "{now:?}");
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "{now:?}");
        sleep(MS).await;
    }
}

async fn same_descriptors(census: &Census) {
    let begin = Instant::now();
    while !census.added().is_empty() {
        let late = begin.elapsed() > Duration::from_secs(5);
        assert!(!late, "descriptors were leaked: {:?}", census.added());
        sleep(MS).await;
    }
}

/// Bytes go one way; the reads at the other end are dropped, and none is missing at the end.
async fn read_all(storm: Rc<Storm>, mut rng: Rng, number: u64, small: bool) {
    let (mut ours, theirs) = match small {
        true => small_pair().await,
        false => pair().await,
    };
    let over = Rc::new(Cell::new(false));
    let writer = spawn(write_until(
        theirs,
        Rng::from_seed(rng.next()),
        number,
        over.clone(),
    ));
    let mut at = 0;
    loop {
        let kinds = [Kind::Recv, Kind::Read, Kind::ReadOwned];
        if kinds.iter().all(|&kind| storm.is_over(kind)) {
            break;
        }
        match kinds[rng.below(3) as usize] {
            Kind::Recv => {
                if let Some(chunk) = storm.give_up(Kind::Recv, &mut rng, ours.recv()).await {
                    let chunk = chunk.expect("read").expect("it goes on");
                    check_coded(number, at, &chunk);
                    at += chunk.len() as u64;
                }
            }
            Kind::Read => {
                let mut room = vec![0; 1 + rng.below(4_000) as usize];
                let read = ours.read(&mut room);
                if let Some(n) = storm.give_up(Kind::Read, &mut rng, read).await {
                    let n = n.expect("read");
                    check_coded(number, at, &room[..n]);
                    at += n as u64;
                }
            }
            _ => at += read_owned(&storm, &mut rng, &mut ours, number, at).await,
        }
    }
    over.set(true);
    while let Some(chunk) = ours.recv().await.expect("read") {
        check_coded(number, at, &chunk);
        at += chunk.len() as u64;
    }
    let written = writer.await.expect("no panic");
    assert_eq!(at, written, "connection {number}");
    storm.count(|figures| figures.bytes += at);
}

/// Half of these are dropped, the others cancelled: those give their buffer back, and the bytes
/// in it count.
async fn read_owned(
    storm: &Storm,
    rng: &mut Rng,
    ours: &mut TcpStream,
    number: u64,
    at: u64,
) -> u64 {
    let room = Vec::with_capacity(1 + rng.below(4_000) as usize);
    let (place, capacity) = (room.as_ptr(), room.capacity());
    let mut read = ours.read_owned(room);
    let given_up = match rng.once_in(2) {
        true => storm.give_up(Kind::ReadOwned, rng, read).await,
        false => match looked_at(rng, Pin::new(&mut read)).await {
            Some(done) => Some(done),
            None => {
                read.cancel();
                storm.count(|figures| {
                    figures.dropped[Kind::ReadOwned as usize] += 1;
                    figures.buffers_back += 1;
                });
                let (result, room) = read.await;
                assert_eq!((room.as_ptr(), room.capacity()), (place, capacity));
                match result {
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
                        assert!(room.is_empty());
                        return 0;
                    }
                    Ok(n) => {
                        storm.count(|figures| figures.cancelled_with_bytes += 1);
                        Some((Ok(n), room))
                    }
                }
            }
        },
    };
    let Some((result, room)) = given_up else {
        return 0;
    };
    assert_eq!(result.expect("read"), room.len());
    assert!(!room.is_empty(), "it goes on");
    check_coded(number, at, &room);
    room.len() as u64
}

async fn write_until(mut to: TcpStream, mut rng: Rng, number: u64, over: Rc<Cell<bool>>) -> u64 {
    let mut at = 0;
    while !over.get() {
        let bytes = coded_bytes(number, at, 1 + rng.below(2_000) as usize);
        at += bytes.len() as u64;
        match rng.once_in(2) {
            true => to.write_all(&bytes).await.expect("written"),
            false => to.send_all(bytes).await.0.expect("sent"),
        }
        match rng.once_in(2) {
            true => turns(rng.below(8)).await,
            false => sleep(MICROS * rng.below(500) as u32).await,
        }
    }
    to.shutdown(std::net::Shutdown::Write).await.expect("shut");
    at
}

/// Accepts and connects are dropped; whoever was told that it is connected is served.
async fn accept_all(storm: Rc<Storm>, mut rng: Rng) {
    let (listener, address) = listener().await;
    let seen = Rc::new(RefCell::new(HashSet::new()));
    let next = Rc::new(Cell::new(0));
    let mut connectors = JoinSet::new();
    for _ in 0..CONNECTORS {
        let rng = Rng::from_seed(rng.next());
        connectors.spawn(connect_all(storm.clone(), rng, address, next.clone()));
    }
    let mut served = JoinSet::new();
    let accepted = async |listener: &TcpListener, rng: &mut Rng| {
        let accept = listener.accept();
        let stream = storm.give_up(Kind::Accept, rng, accept).await;
        stream.map(|stream| stream.expect("accepted").0)
    };
    while !connectors.is_empty() || !storm.is_over(Kind::Accept) {
        if let Some(stream) = accepted(&listener, &mut rng).await {
            served.spawn(serve(storm.clone(), stream, seen.clone()));
        }
        while let Some(joined) = connectors.try_join_next() {
            joined.expect("no connector panics");
        }
        while let Some(joined) = served.try_join_next() {
            joined.expect("no server panics");
        }
    }
    while let Some(joined) = served.join_next().await {
        joined.expect("no server panics");
    }
    assert_eq!(seen.borrow().len() as u64, next.get(), "made and seen");
    storm.count(|figures| figures.connections += next.get());
}

async fn connect_all(storm: Rc<Storm>, mut rng: Rng, to: SocketAddr, next: Rc<Cell<u64>>) {
    while !storm.is_over(Kind::Connect) {
        let connect = TcpStream::connect(to);
        let connected = storm.give_up(Kind::Connect, &mut rng, connect).await;
        let Some(stream) = connected else {
            continue;
        };
        let mut stream = stream.expect("connected");
        let number = next.replace(next.get() + 1);
        stream
            .write_all(&number.to_le_bytes())
            .await
            .expect("written");
        let mut back = [0; 8];
        stream.read_exact(&mut back).await.expect("it is served");
        assert_eq!(u64::from_le_bytes(back), number);
        // Neither end is left waiting for its last packets.
        stream.set_zero_linger().expect("set");
    }
}

/// A connection whose connect was dropped has nothing to say.
async fn serve(storm: Rc<Storm>, mut stream: TcpStream, seen: Rc<RefCell<HashSet<u64>>>) {
    let mut number = [0; 8];
    if stream.read_exact(&mut number).await.is_err() {
        storm.count(|figures| figures.abandoned_connections += 1);
        let _ = stream.set_zero_linger();
        return;
    }
    let is_new = seen.borrow_mut().insert(u64::from_le_bytes(number));
    assert!(is_new, "a connection was accepted twice");
    stream.write_all(&number).await.expect("written");
    // Until the client has it.
    let _ = stream.recv().await;
}

/// Opens of what is there, of what is created, and of a FIFO that nobody writes to.
async fn open_all(storm: Rc<Storm>, mut rng: Rng, folder: PathBuf, number: u64) {
    let there = folder.join("there");
    let fifo = folder.join("fifo");
    while !storm.is_over(Kind::Open) {
        let opened = match rng.below(4) {
            0 | 1 => {
                storm
                    .give_up(Kind::Open, &mut rng, File::open(&there))
                    .await
            }
            2 => {
                let path = folder.join(format!("new-{number}-{}", rng.below(8)));
                let mut options = OpenOptions::new();
                let options = options.write(true).create(true).truncate(true);
                storm
                    .give_up(Kind::Open, &mut rng, options.open(&path))
                    .await
            }
            _ => {
                let opened = storm.give_up(Kind::Open, &mut rng, File::open(&fifo)).await;
                assert!(opened.is_none(), "nobody writes: {opened:?}");
                continue;
            }
        };
        if let Some(file) = opened {
            let file = file.expect("opened");
            assert!(file.metadata().await.expect("it is open").is_file());
            storm.count(|figures| figures.files += 1);
        }
    }
}

/// Sends are dropped. One that did nothing leaves the stream as it was; any other tears it, and
/// the peer has a prefix of what was sent.
async fn send_all(storm: Rc<Storm>, mut rng: Rng, number: u64) {
    while !storm.is_over(Kind::Send) {
        let (mut ours, theirs) = small_pair().await;
        let reader = spawn(read_to_end(theirs, Rng::from_seed(rng.next()), number));
        let (mut at, mut maybe) = (0, 0);
        while maybe == 0 && !storm.is_over(Kind::Send) {
            let bytes = coded_bytes(number, at, 1 + rng.below(30_000) as usize);
            let len = bytes.len() as u64;
            let send = ours.send_all(bytes);
            match storm.give_up(Kind::Send, &mut rng, send).await {
                Some((result, _)) => {
                    result.expect("sent");
                    at += len;
                }
                None => match ours.write(&coded_bytes(number, at, 1)).await {
                    Ok(n) => {
                        storm.count(|figures| figures.untouched_sends += 1);
                        at += n as u64;
                    }
                    Err(error) => {
                        fails_closed(&mut ours, &error).await;
                        storm.count(|figures| figures.torn += 1);
                        maybe = len;
                    }
                },
            }
        }
        drop(ours);
        let received = reader.await.expect("no panic");
        let sent = at..=at + maybe;
        assert!(sent.contains(&received), "{received} of {sent:?}");
    }
}

async fn fails_closed(stream: &mut TcpStream, first: &std::io::Error) {
    assert_eq!(first.kind(), ErrorKind::BrokenPipe, "{first}");
    assert!(first.get_ref().is_some_and(|source| source.is::<Torn>()));
    let again = stream.send(vec![0; 9]).await.0.expect_err("it is torn");
    assert_eq!(again.kind(), ErrorKind::BrokenPipe, "{again}");
    stream.flush().await.expect_err("it is torn");
}

async fn read_to_end(mut from: TcpStream, mut rng: Rng, number: u64) -> u64 {
    let mut at = 0;
    while let Some(chunk) = from.recv().await.expect("read") {
        check_coded(number, at, &chunk);
        at += chunk.len() as u64;
        turns(rng.below(3)).await;
    }
    at
}

/// How far two tasks are.
#[derive(Clone, Default)]
struct Progress {
    sent: Rc<Cell<u64>>,
    received: Rc<Cell<u64>>,
    over: Rc<Cell<bool>>,
}

impl Progress {
    /// Until there is room for one more; or false, once it is over.
    async fn room(&self) -> bool {
        while self.sent.get() - self.received.get() >= UNDER_WAY_MAX {
            yield_now().await;
        }
        self.sent.set(self.sent.get() + 1);
        !self.over.get()
    }
}

/// Receives of datagrams are dropped: each comes once, whole and in order.
async fn receive_all(storm: Rc<Storm>, mut rng: Rng, number: u64) {
    let ours = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let to = ours.local_addr().expect("it has an address");
    let progress = Progress::default();
    let sender = spawn(send_datagrams(
        to,
        Rng::from_seed(rng.next()),
        number,
        progress.clone(),
    ));
    let mut room = vec![0; 2_000];
    loop {
        progress.over.set(storm.is_over(Kind::RecvFrom));
        let receive = ours.recv_from(&mut room);
        let received = match progress.over.get() {
            false => storm.give_up(Kind::RecvFrom, &mut rng, receive).await,
            true => Some(receive.await),
        };
        let Some(received) = received else {
            continue;
        };
        let (n, _) = received.expect("received");
        if n == 0 {
            break;
        }
        let at = progress.received.replace(progress.received.get() + 1);
        check_coded(number, at, &room[..n]);
        storm.count(|figures| figures.datagrams += 1);
    }
    let sent = sender.await.expect("no panic");
    assert_eq!(progress.received.get(), sent, "socket {number}");
}

/// An empty one is the last.
async fn send_datagrams(to: SocketAddr, mut rng: Rng, number: u64, progress: Progress) -> u64 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let mut at = 0;
    while progress.room().await {
        let bytes = coded_bytes(number, at, 1 + rng.below(1_500) as usize);
        assert_eq!(socket.send_to(&bytes, to).await.expect("sent"), bytes.len());
        at += 1;
        turns(rng.below(6)).await;
    }
    socket.send_to(&[], to).await.expect("sent");
    at
}

/// Receives of descriptors are dropped: each comes once, with its own bytes, and none leaks.
async fn take_all(storm: Rc<Storm>, mut rng: Rng) {
    let (mut ours, theirs) = UnixStream::pair().expect("a pair");
    let progress = Progress::default();
    let giver = spawn(give_files(theirs, progress.clone()));
    loop {
        progress.over.set(storm.is_over(Kind::RecvFds));
        let mut room = [0; 8];
        let take = ours.recv_with_fds(&mut room);
        let taken = match progress.over.get() {
            false => storm.give_up(Kind::RecvFds, &mut rng, take).await,
            true => Some(take.await),
        };
        let Some(taken) = taken else {
            continue;
        };
        let (n, files) = taken.expect("received");
        if n == 0 {
            break;
        }
        let next = progress.received.replace(progress.received.get() + 1);
        assert_eq!((n, files.len()), (8, 1));
        let lens = files.into_iter().map(|file| {
            let file = std::fs::File::from(file);
            file.metadata().expect("it is open").len()
        });
        assert_eq!((u64::from_le_bytes(room), lens.sum()), (next, next));
        storm.count(|figures| figures.descriptors += 1);
    }
    let given = giver.await.expect("no panic");
    assert_eq!(progress.received.get(), given);
}

/// Files in memory, each as long as its number.
async fn give_files(mut to: UnixStream, progress: Progress) -> u64 {
    let mut number = 0u64;
    while progress.room().await {
        // SAFETY: the kernel reads a name that ends with a NUL.
        let fd = unsafe { libc::memfd_create(c"storm".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the descriptor is new, and nobody else's.
        let file = unsafe { std::fs::File::from_raw_fd(fd) };
        file.set_len(number).expect("set");
        let bytes = number.to_le_bytes();
        let sent = to.send_with_fds(&bytes, &[file.as_fd()]).await;
        assert_eq!(sent.expect("sent"), bytes.len());
        number += 1;
    }
    number
}

/// Files of the storm: removed with all that is in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let name = format!("corering-storm-{}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0).expect("a folder");
        std::fs::write(folder.0.join("there"), "there").expect("written");
        make_fifo(&folder.0.join("fifo"));
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn make_fifo(path: &Path) {
    let path = std::ffi::CString::new(path.to_str().expect("our own name")).expect("no NUL");
    // SAFETY: the kernel reads a path that ends with a NUL.
    let made = unsafe { libc::mkfifo(path.as_ptr(), 0o600) };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
}
