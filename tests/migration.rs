//! The page `docs/migration.md`: every line of its columns "corering", compiled and run.
//!
//! [`the_page_shows_these_lines`] holds the two together. Whoever changes a line here changes the
//! page, and the other way round.

#![allow(
    unused_variables,
    unused_mut,
    clippy::disallowed_methods,
    clippy::let_underscore_future,
    clippy::let_unit_value,
    reason = "each line is as it stands on the page"
)]

use asynchronous_codec::{Framed, LinesCodec};
use corering::buf::AlignedBuf;
use corering::flow::*;
use corering::fs::{File, FileReader, OpenOptions, send_file};
use corering::io::{BufReader, BufWriter};
use corering::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream, lookup_host};
use corering::process::{Command, Stdio};
use corering::server::Server;
use corering::signal::{SignalKind, ctrl_c, signal};
use corering::stdio::stdin;
use corering::sync::queue::{LifoQueue, PriorityQueue, Queue};
use corering::sync::*;
use corering::task::{self, CancellationToken, JoinSet};
use corering::time::{Instant, sleep, timeout};
use corering::{Handle, JoinError, JoinHandle, PollFd, Runtime, spawn_blocking, spawn_on};
use futures::StreamExt;
use std::cell::Cell;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

type Outcome = Result<(), Box<dyn Error>>;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(5);

async fn main() -> u32 {
    work().await
}

async fn work() -> u32 {
    corering::yield_now().await;
    42
}

/// Works that may fail, and do not.
fn works() -> Vec<impl Future<Output = Result<u32, io::Error>>> {
    (0..3).map(|n| async move { Ok(n) }).collect()
}

fn tasks() -> Vec<JoinHandle<u32>> {
    (0..3).map(|n| corering::spawn(async move { n })).collect()
}

fn blocks() -> u32 {
    42
}

/// A path that is free, in the directory for such.
fn free_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("corering-migration-{name}-{}", std::process::id()))
}

// ---------------------------------------------------------------------------------------------
// The page

/// Without white space, and without the commas that a break of lines brings.
fn squeezed(text: &str) -> String {
    let text: String = text.split_whitespace().collect();
    text.replace(",)", ")")
}

/// The cells of a row of a table.
fn cells(row: &str) -> Option<Vec<String>> {
    let row = row
        .strip_prefix('|')?
        .strip_suffix('|')?
        .replace("\\|", "\u{1}");
    let cells = row.split('|').map(|cell| cell.trim().replace('\u{1}', "|"));
    Some(cells.collect())
}

#[test]
fn the_page_shows_these_lines() {
    let page = include_str!("../docs/migration.md");
    let source = squeezed(include_str!("migration.rs"));
    let (mut lines, mut tables, mut missing) = (0, Vec::new(), Vec::new());
    for row in page.lines().filter_map(cells) {
        assert_eq!(row.len(), 3, "{row:?}");
        if row[1] == "corering" {
            tables.push(row[0].clone());
        }
        if row[1] == "corering" || row[1].starts_with("---") {
            continue;
        }
        if row[1] == "—" {
            assert!(!row[2].is_empty(), "a row without a line says why: {row:?}");
            continue;
        }
        let code = row[1]
            .strip_prefix('`')
            .and_then(|code| code.strip_suffix('`'));
        let code = squeezed(code.unwrap_or_else(|| panic!("not one line of code: {row:?}")));
        if !source.contains(&code) {
            missing.push(row[1].clone());
        }
        lines += 1;
    }
    assert!(
        missing.is_empty(),
        "docs/migration.md: not in this file: {missing:#?}"
    );
    tables.dedup();
    assert_eq!(tables, ["asyncio", "tokio", "monoio", "glommio"]);
    assert!(lines > 100, "{lines} lines");
}

// ---------------------------------------------------------------------------------------------
// From asyncio

#[test]
fn the_loop() -> Outcome {
    corering::block_on(main());

    let mut runtime = Runtime::new()?;
    runtime.block_on(async { Handle::current() });
    runtime.block_on(main());
    assert!(Handle::try_current().is_none());
    runtime.block_on(async {
        assert!(Handle::try_current().is_some());
        let handle = Handle::current();
        assert!(!handle.is_closed());
    });
    let handle = runtime.handle();
    handle.stop();
    runtime.run_forever();
    let report = runtime.shutdown(Duration::from_secs(5));
    assert!(report.is_clean() && handle.is_closed());
    Ok(())
}

/// The lines of the macros, each an item of its own.
mod macros {
    #[corering::main]
    pub(super) async fn one_core() -> usize {
        corering::Handle::current().cores()
    }

    #[corering::main(cores = "all")]
    pub(super) async fn all_cores() -> usize {
        corering::Handle::current().cores()
    }
}

#[test]
fn programs() {
    assert_eq!(macros::one_core(), 1);
    assert!(macros::all_cores() >= 1);
}

#[corering::test]
async fn tasks_and_futures() -> Outcome {
    fn on_done(name: &str, output: Result<u32, JoinError>) {
        assert_eq!((name, output.ok()), ("poller", Some(42)));
    }
    let name = "poller";
    let task = corering::spawn(work());
    let named = task::Builder::new().name("poller").spawn(work());
    assert_eq!(named.name().as_deref(), Some(name));
    assert!(!named.is_finished());
    assert!(
        task::all()
            .iter()
            .any(|task| task.name.as_deref() == Some(name))
    );
    let result = task.await?;
    assert_eq!(result, 42);
    call_when_done(named, move |output| on_done(name, output));

    let (promise, future) = oneshot();
    assert_eq!(promise.send(42), Ok(()));
    assert_eq!(future.await?, 42);
    let id = corering::spawn(async { task::current_id() });
    assert!(id.await?.is_some());
    corering::yield_now().await;
    let slept = timeout(SHORT, async {
        sleep(Duration::from_secs(1)).await;
    });
    assert!(slept.await.is_err());
    Ok(())
}

#[corering::test]
async fn cancelling() -> Outcome {
    async fn step() {
        sleep(SHORT).await;
    }
    async fn save() {
        sleep(SHORT).await;
    }
    let task = corering::spawn(async {
        while task::run_until_cancelled(step()).await.is_some() {}
        task::cancelled().await;
        let is_asked = task::cancelling() == 1;
        is_asked && task::uncancel() == 0
    });
    sleep(SHORT).await;
    task.cancel();
    assert!(task.await?);

    let task = corering::spawn(sleep(LONG));
    task.abort();
    let was_cancelled = task.await.is_err_and(|error| error.is_cancelled());
    assert!(was_cancelled);

    let everything = CancellationToken::new();
    let own = task::Builder::new().cancellation_token(everything.child_token());
    let task = own.spawn(task::cancelled());
    everything.cancel();
    task.await?;
    shield(save()).await?;
    Ok(())
}

#[corering::test]
async fn many_at_once() -> Outcome {
    let second = Duration::from_secs(1);
    let outputs = try_gather(works()).await?;
    assert_eq!(outputs, [0, 1, 2]);
    let outputs = gather(works()).await;
    assert_eq!(outputs.len(), 3);
    let groups = gather([gather(works()), gather(works())]).await;
    assert_eq!(groups.len(), 2);
    let group = gather([sleep(LONG), sleep(LONG)]);
    drop(group);

    let waited = wait(tasks(), Some(second), When::All).await;
    assert_eq!((waited.done.len(), waited.pending.len()), (3, 0));
    let waited = wait(tasks(), None, When::First).await;
    assert!(!waited.done.is_empty());
    let waited = wait(tasks(), None, When::FirstError).await;
    assert_eq!(waited.done.len(), 3);

    let mut completed = as_completed(works());
    let mut sum = 0;
    while let Some(output) = completed.next().await {
        sum += output??;
    }
    assert_eq!(sum, 3);
    Ok(())
}

#[corering::test]
async fn limits_and_groups() -> Outcome {
    async fn polite(token: CancellationToken) -> u32 {
        token.run_until_cancelled(work()).await.unwrap_or(0)
    }
    async fn both(group: &TaskGroup<io::Error>) -> io::Result<()> {
        let part = group.spawn(async { Ok(work().await) });
        group.join().await;
        assert_eq!(part.take(), Some(42));
        Ok(())
    }
    let second = LONG;
    let output = timeout(second, work()).await?;
    assert_eq!(output, 42);
    let output = timeout_with(second, polite).await?;
    assert_eq!(output, 42);
    task_group(async |group| both(&group).await).await?;
    Ok(())
}

#[corering::test]
async fn calls() -> Outcome {
    let second = Duration::from_millis(20);
    let called = Rc::new(Cell::new(0));
    let f = || {
        let called = called.clone();
        move || called.set(called.get() + 1)
    };
    let now = Instant::now();
    let when = now + second;
    {
        let f = f();
        call_soon(f);
    }
    {
        let f = f();
        call_at(when, f);
    }
    let f = f();
    let call = call_later(second, f);
    assert!(call.when() >= Some(when));
    call.cancel();
    while called.get() < 2 {
        sleep(SHORT).await;
    }
    assert!(now.elapsed() >= second);
    Ok(())
}

#[test]
fn calls_from_a_thread() -> Outcome {
    let second = LONG;
    let mut runtime = Runtime::new()?;
    let handle = runtime.handle();
    let thread = std::thread::spawn(move || {
        let f = || 1;
        assert_eq!(handle.call_soon_threadsafe(f).wait().ok(), Some(1));
        let answer = handle.spawn(work).wait_timeout(second);
        assert_eq!(answer.and_then(Result::ok), Some(42));
        handle.stop();
    });
    runtime.run_forever();
    thread.join().expect("it has not panicked");
    Ok(())
}

#[corering::test]
async fn blocking_code() -> Outcome {
    let three = Semaphore::new(3);
    let _permit = three.acquire().await?;
    let answer = spawn_blocking(blocks).await?;
    assert_eq!(answer, 42);
    Ok(())
}

#[corering::test]
async fn locks() -> Outcome {
    let lock = Mutex::new(1);
    let (event, condvar) = (Event::new(), Condvar::new());
    let (semaphore, barrier) = (Semaphore::new(3), Barrier::new(1));
    {
        let mut value = lock.lock().await;
        *value += 1;
    }
    event.set();
    event.wait().await;
    condvar.notify_all();
    let value = condvar
        .wait_for(lock.lock().await, |value| *value > 0)
        .await;
    assert_eq!(*value, 2);
    let _permit = semaphore.acquire().await?;
    let bounded = BoundedSemaphore::new(3);
    assert!(bounded.add_permits(1).is_err());
    barrier.wait().await;
    let readers = RwLock::new(1);
    assert_eq!(*readers.read().await, 1);
    Ok(())
}

#[corering::test]
async fn queues() -> Outcome {
    let queue = Queue::bounded(3);
    queue.put(1).await?;
    let item = queue.get().await?;
    queue.task_done()?;
    queue.join().await;
    queue.shutdown(false);
    assert!(queue.put(item).await.is_err());

    let least_first = PriorityQueue::unbounded();
    let last_first = LifoQueue::unbounded();
    for n in [2, 1, 3] {
        least_first.put(n).await?;
        last_first.put(n).await?;
    }
    assert_eq!(
        (least_first.get().await, last_first.get().await),
        (Ok(1), Ok(3))
    );

    let (sender, mut receiver) = local::mpsc::channel(16);
    sender.send(1).await?;
    assert_eq!(receiver.recv().await, Some(1));
    Ok(())
}

/// Answers each client with what it has sent, until it closes.
async fn handle(mut stream: TcpStream, _peer: std::net::SocketAddr) -> io::Result<()> {
    while let Some(chunk) = stream.recv().await? {
        stream.send_all(chunk).await.0?;
    }
    Ok(())
}

#[cfg(feature = "tls")]
#[allow(dead_code, reason = "tests/tls.rs runs what it shows")]
async fn start_tls(connector: corering::tls::TlsConnector, stream: TcpStream) -> io::Result<()> {
    let stream = connector.connect("example.org", stream).await?;
    Ok(())
}

/// The port of a server that echoes.
async fn start_echo() -> io::Result<u16> {
    let listener = TcpListener::bind(("localhost", 0)).await?;
    let port = listener.local_addr()?.port();
    corering::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            corering::spawn(handle(stream, peer));
        }
    });
    Ok(port)
}

#[corering::test]
async fn connections() -> Outcome {
    let port = start_echo().await?;
    let second = LONG;
    let stream = TcpStream::connect_timeout(("localhost", port), second).await?;
    drop(stream);
    let stream = TcpStream::connect(("localhost", port)).await?;
    let peer = stream.peer_addr()?;
    assert_eq!(peer.port(), port);
    let (read, write) = stream.into_split();
    let mut reader = BufReader::new(read);
    let mut writer = BufWriter::new(write);
    writer.set_water_marks(64 * 1024, 16 * 1024);
    writer.push(b"data\n")?;
    writer.push(b"a line\nfour;another line\nlast\n")?;
    writer.drain().await?;
    writer.close().await?;

    let (mut bytes, mut four, mut record) = ([0; 5], [0; 4], Vec::new());
    let n = reader.read(&mut bytes).await?;
    assert_eq!(&bytes[..n], &b"data\n"[..n]);
    let mut rest = &mut bytes[n..];
    reader.read_exact(rest).await?;
    let line = reader.next_line().await?;
    assert_eq!(line.as_deref(), Some("a line"));
    reader.read_exact(&mut four).await?;
    reader.read_until(b";", &mut record).await?;
    assert_eq!((&four, &record[..]), (b"four", &b";"[..]));
    let mut lines = reader.lines();
    let mut last = String::new();
    while let Some(line) = lines.next().await {
        last = line?;
    }
    assert_eq!(last, "last");
    let addresses = lookup_host(("localhost", 80)).await?;
    assert!(!addresses.is_empty());
    Ok(())
}

#[corering::test]
async fn frames() -> Outcome {
    let stream = TcpStream::connect(("localhost", start_echo().await?)).await?;
    let mut frames = Framed::new(stream, LinesCodec);
    futures::SinkExt::send(&mut frames, "a frame\n".to_string()).await?;
    let frame = frames.next().await.transpose()?;
    assert_eq!(frame.as_deref(), Some("a frame\n"));
    Ok(())
}

#[corering::test]
async fn datagrams_and_unix_sockets() -> Outcome {
    let mut bytes = [0; 16];
    let socket = UdpSocket::bind(("localhost", 0)).await?;
    let address = socket.local_addr()?;
    socket.send_to(b"data", address).await?;
    let (n, from) = socket.recv_from(&mut bytes).await?;
    assert_eq!((&bytes[..n], from), (&b"data"[..], address));

    let listener = TcpListener::bind(("localhost", 0)).await?;
    let server = Server::start(listener, handle);
    server.close();
    server.wait_closed().await?;

    let path = free_path("socket");
    let listener = UnixListener::bind(&path)?;
    let unix = UnixStream::connect(&path).await?;
    let accepted = listener.accept().await?;
    drop(listener);
    corering::fs::remove_file(&path).await?;
    Ok(())
}

#[corering::test]
async fn files_and_descriptors() -> Outcome {
    let path = free_path("file");
    corering::fs::write(&path, "text").await?;
    let text = corering::fs::read_to_string(&path).await?;
    let bytes = corering::fs::read(&path).await?;
    assert_eq!((text.as_bytes(), &bytes[..]), (&b"text"[..], &b"text"[..]));

    let (sock, _other) = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let sock = std::net::TcpStream::connect(listener.local_addr()?)?;
        (sock, listener.accept()?)
    };
    let mut stream = TcpStream::from_std(sock)?;
    let file = File::open(&path).await?;
    let sent = send_file(&mut stream, &file, ..).await?;
    assert_eq!(sent, 4);
    corering::fs::remove_file(&path).await?;

    let (pipe, mut other) = std::os::unix::net::UnixStream::pair()?;
    io::Write::write_all(&mut other, b"ready")?;
    PollFd::new(&pipe)?.readable().await?;
    let mut lines = BufReader::new(stdin()?);
    Ok(())
}

/// Sends this process a signal.
async fn kill(signal: &str) -> io::Result<()> {
    let pid = std::process::id().to_string();
    Command::new("kill").args([signal, &pid]).status().await?;
    Ok(())
}

#[corering::test]
async fn signals() -> Outcome {
    let mut term = signal(SignalKind::terminate())?;
    kill("-TERM").await?;
    assert_eq!(term.recv().await, Some(()));

    let mut handled = signal(SignalKind::interrupt())?; // so that none comes too early
    let waiting = corering::spawn(async {
        ctrl_c().await?;
        Ok::<(), io::Error>(())
    });
    while !waiting.is_finished() {
        kill("-INT").await?;
    }
    waiting.await??;
    Ok(())
}

#[corering::test]
async fn processes() -> Outcome {
    let mut sort = Command::new("sort")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = sort.communicate("b\na\n").await?;
    assert_eq!(output.stdout, b"a\nb\n");
    let status = Command::shell("exit 3").status().await?;
    assert_eq!(status.code(), Some(3));

    let mut child = Command::new("sleep").arg("60").spawn()?;
    child.terminate()?;
    let status = child.wait().await?;
    assert!(!status.success());
    let mut child = Command::new("sleep").arg("60").spawn()?;
    child.kill().await?;
    Ok(())
}

#[test]
fn finding_mistakes() -> Outcome {
    let builder = Runtime::builder().stall_threshold(Duration::from_millis(100));
    let builder = builder.on_task_panic(|panic| eprintln!("{}", panic.error));
    let mut runtime = builder.build()?;
    runtime.block_on(async { drop(task::Builder::new().name("late").spawn(sleep(LONG))) });
    let report = runtime.shutdown(SHORT);
    let pending = report.pending;
    assert_eq!(pending[0].name.as_deref(), Some("late"));
    Ok(())
}

// ---------------------------------------------------------------------------------------------
// From tokio, monoio and glommio: what the lines above have not

#[test]
fn many_cores() -> Outcome {
    async fn serve(core: usize) -> usize {
        assert_eq!(corering::core_id(), core);
        core
    }
    let mut runtime = Runtime::builder().cores(2).build()?;
    runtime.run(serve);
    let handle = runtime.handle();
    let answer = runtime.block_on(async move {
        let remote = handle.spawn_on(1, work);
        let other = spawn_on(1, work);
        Ok::<u32, JoinError>(remote.await? + other.await?)
    });
    assert_eq!(answer?, 84);
    let second = LONG;
    let report = runtime.shutdown(second);
    assert!(report.is_clean());
    Ok(())
}

#[corering::test]
async fn of_the_field() -> Outcome {
    let second = SHORT;
    let first = futures::future::select(pin!(work()), pin!(sleep(second))).await;
    let mut set = JoinSet::new();
    set.spawn(work());
    while let Some(output) = set.join_next().await {
        assert_eq!(output?, 42);
    }
    corering::spawn(work());
    sleep(second).await;
    let shared = Rc::new(Mutex::new(0));
    *shared.lock().await += 1;
    let token = CancellationToken::new();
    let (sender, mut receiver) = channel(16);
    sender.send(1).await?;
    assert_eq!(receiver.recv().await, Some(1));

    let (mut reader, mut writer) = (&b"bytes"[..], Vec::new());
    let copied = corering::io::copy(&mut reader, &mut writer).await?;
    assert_eq!((copied, &writer[..]), (5, &b"bytes"[..]));
    Ok(())
}

#[corering::test]
async fn buffers_that_are_lent() -> Outcome {
    let second = LONG;
    let address = "127.0.0.1:0";
    let listener = TcpListener::bind_reuse_port(address).await?;
    let mut stream = TcpStream::connect(listener.local_addr()?).await?;
    let (accepted, peer) = listener.accept().await?;
    corering::spawn(handle(accepted, peer));

    let buf = b"echo".to_vec();
    let (result, buf) = stream.send_all(buf).await;
    result?;
    let (result, buf) = stream.read_owned(buf).await;
    let n = result?;
    stream.write_all(b"more").await?;
    let chunk = timeout(second, stream.recv()).await;
    assert!(n > 0 && chunk?.is_ok());
    let mut bytes = [0; 16];
    stream.write_all(b"and more").await?;
    let n = stream.read(&mut bytes).await?;
    assert!(n > 0);
    Ok(())
}

#[corering::test]
async fn files_that_are_lent() -> Outcome {
    // Not in the directory for temporary files: that may be in memory, without `O_DIRECT`.
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(std::process::id().to_string());
    corering::fs::write(&path, vec![7; 4096]).await?;
    let file = File::open(&path).await?;
    let buf = vec![0; 16];
    let (result, buf) = file.read_at(buf, 0).await;
    assert_eq!((result?, &buf[..2]), (16, &[7, 7][..]));
    let mut reader = FileReader::new(file);
    assert_eq!(reader.next_chunk().await?.map(|chunk| chunk[0]), Some(7));

    let direct = async {
        let file = OpenOptions::new()
            .read(true)
            .direct(true)
            .open(&path)
            .await?;
        let (result, buf) = file.read_at(AlignedBuf::new(4096), 0).await;
        result
    };
    match direct.await {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            println!("SKIP: no O_DIRECT below {}", path.display());
        }
        result => assert_eq!(result?, 4096),
    }
    corering::fs::remove_file(&path).await?;
    Ok(())
}
