//! Files that the kernel sends from its own memory: every byte, whatever peer, file or kernel do.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::http::{Limits, ServeDir, serve};
use corering::net::TcpListener;
use corering::{Restrict, Runtime};
use harness::{Case, Census, check_coded, coded_bytes, seccomp};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use std::convert::Infallible;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;
/// Around every limit on the way: what is worth it, what is read at once, what a frame stands for.
const SIZES: [usize; 12] = [
    1,
    32 * KIB - 1,
    32 * KIB,
    32 * KIB + 1,
    128 * KIB,
    128 * KIB + 1,
    MIB - 1,
    MIB,
    MIB + 1,
    MIB + 32 * KIB - 1,
    3 * MIB,
    10 * MIB + 7,
];

/// What a stand-in says to whoever looks at it.
const SIGN: &[u8] = b"corering: this is not the file";

/// What passes between the files and the connection.
#[derive(Clone, Default)]
struct Seen {
    stand_ins: Arc<AtomicUsize>,
    /// Frames are kept from now on.
    keeps: Arc<AtomicBool>,
    kept: Arc<Mutex<Vec<Bytes>>>,
}

impl Seen {
    fn frame(&self, bytes: &Bytes) {
        if bytes.starts_with(SIGN) {
            self.stand_ins.fetch_add(1, Ordering::SeqCst);
            if self.keeps.load(Ordering::SeqCst) {
                self.kept.lock().unwrap().push(bytes.clone());
            }
        }
    }

    /// How many there were since this was asked last.
    fn stand_ins(&self) -> usize {
        self.stand_ins.swap(0, Ordering::SeqCst)
    }
}

/// A server of a directory, and what a test needs to know of it.
struct Site {
    address: SocketAddr,
    handle: corering::Handle,
    directory: PathBuf,
    seen: Seen,
}

impl Site {
    /// A file with bytes that tell their place, called after its size.
    fn file(&self, size: usize) -> PathBuf {
        let path = self.directory.join(size.to_string());
        std::fs::write(&path, coded_bytes(size as u64, 0, size)).unwrap();
        path
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(20_000 * MS)).unwrap();
        Client(BufReader::new(stream))
    }

    /// A client whose kernel takes next to nothing that it does not read.
    fn connect_small(&self) -> Client {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.set_recv_buffer_size(4 * KIB).unwrap();
        socket.connect(&self.address.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(20_000 * MS)).unwrap();
        Client(BufReader::new(stream))
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn send(&mut self, method: &str, path: &str, headers: &str) {
        let request = format!("{method} /{path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
    }

    fn head(&mut self) -> io::Result<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(head)
    }

    /// The next answer.
    fn answer(&mut self) -> (String, Vec<u8>) {
        let head = self.head().unwrap();
        let mut body = vec![0; content_length(&head)];
        self.0.read_exact(&mut body).unwrap();
        (head, body)
    }

    fn get(&mut self, path: &str, headers: &str) -> (String, Vec<u8>) {
        self.send("GET", path, headers);
        self.answer()
    }

    /// Asks for the file of this size, and looks at every byte of it.
    fn check(&mut self, size: usize) {
        let (head, body) = self.get(&size.to_string(), "");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(body.len(), size);
        check_coded(size as u64, 0, &body);
    }
}

fn content_length(head: &str) -> usize {
    let line = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then_some(value)
    });
    line.expect("it has a length").parse().unwrap()
}

/// Runs a server on a thread of its own while `test` runs; then ends it in order.
fn with_site(name: &str, limits: Limits, sendfile: bool, test: impl FnOnce(&Site)) {
    with_site_of(Runtime::builder(), name, limits, sendfile, test);
}

fn with_site_of(
    builder: corering::Builder,
    name: &str,
    limits: Limits,
    sendfile: bool,
    test: impl FnOnce(&Site),
) {
    let directory = format!("corering-sendfile-{}-{name}", std::process::id());
    let directory = std::env::temp_dir().join(directory);
    std::fs::create_dir_all(&directory).unwrap();
    let (tell, told) = mpsc::channel();
    let seen = Seen::default();
    let (there, watch) = (directory.clone(), seen.clone());
    let server = thread::spawn(move || {
        let mut runtime = builder.build().unwrap();
        let handle = runtime.handle();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send((listener.local_addr().unwrap(), handle)).unwrap();
            let files = ServeDir::open(&there).await.unwrap().sendfile(sendfile);
            let service = service_fn(move |request: Request<Incoming>| {
                let (files, watch) = (files.clone(), watch.clone());
                async move {
                    let answer = files.answer(&request).await;
                    Ok::<_, Infallible>(answer.map(|body| {
                        body.map_frame(move |frame| {
                            frame.data_ref().inspect(|bytes| watch.frame(bytes));
                            frame
                        })
                    }))
                }
            });
            serve(listener, service, limits).await.unwrap();
        });
    });
    let (address, handle) = told.recv().unwrap();
    let site = Site {
        address,
        handle,
        directory,
        seen,
    };
    test(&site);
    site.handle.stop();
    server.join().unwrap();
    std::fs::remove_dir_all(&site.directory).unwrap();
}

/// Whether the kernel says what it has in memory of the files of these tests, on a file system of
/// which it is known that it reads that without waiting.
fn kernel_says(directory: &Path) -> bool {
    use std::os::fd::AsRawFd;
    const KNOWN: [i64; 4] = [
        libc::EXT4_SUPER_MAGIC,
        libc::TMPFS_MAGIC,
        libc::XFS_SUPER_MAGIC,
        libc::BTRFS_SUPER_MAGIC,
    ];
    let path = directory.join("probe");
    std::fs::write(&path, [1; 4096]).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let (range, mut counts) = ([0u64, 4096], [0u64; 5]);
    let (ranges, counts_ptr) = (range.as_ptr(), counts.as_mut_ptr());
    // SAFETY: the kernel reads two words and writes five.
    let known = unsafe { libc::syscall(451, file.as_raw_fd(), ranges, counts_ptr, 0) };
    // SAFETY: an all-zero statfs is a valid value.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one statfs.
    unsafe { libc::fstatfs(file.as_raw_fd(), &mut stat) };
    std::fs::remove_file(&path).unwrap();
    let says = known == 0 && counts[0] == 1 && KNOWN.contains(&stat.f_type);
    if !says {
        harness::skip("the kernel does not say what it has in memory of these files");
    }
    says
}

#[test]
fn every_byte_of_every_size_arrives() {
    Case::new("every_byte_of_every_size_arrives").run(|| {
        with_site("sizes", Limits::default(), true, |site| {
            let mut client = site.connect();
            let says = kernel_says(&site.directory);
            for size in SIZES {
                site.file(size);
                client.check(size);
                let stand_ins = site.seen.stand_ins();
                println!("{size} bytes: {stand_ins} stand-ins");
                let left = size % MIB;
                let whole = size / MIB + usize::from(left >= 32 * KIB);
                assert!(!says || stand_ins == whole, "{size} bytes");
            }
            // All of them are asked for before the first answer is read.
            for size in SIZES {
                client.send("GET", &size.to_string(), "");
            }
            for size in SIZES {
                let (_, body) = client.answer();
                assert_eq!(body.len(), size);
                check_coded(size as u64, 0, &body);
            }
            client.send("HEAD", &MIB.to_string(), "");
            assert_eq!(content_length(&client.head().unwrap()), MIB);
            client.check(1);
        });
    });
}

#[test]
fn ranges_are_those_of_the_plain_way() {
    Case::new("ranges_are_those_of_the_plain_way").run(|| {
        let ranges = [
            "0-0",
            "1-40000",
            "4095-1052672",
            "12345-3000000",
            "1048576-",
            "-100000",
            "-1",
            "0-50000,100000-200000",
            "5-10,70000-1200000,2000000-2000001,-40000",
            "1000-40000,500000-2600000,2700000-",
        ];
        let size = 3 * MIB + 77;
        let fetch = |sendfile| {
            let mut bodies = Vec::new();
            with_site("ranges", Limits::default(), sendfile, |site| {
                let path = site.file(size);
                // The boundary tells the file's version.
                let time = std::time::UNIX_EPOCH + 1_000_000_000 * MS;
                let file = std::fs::File::options().write(true).open(path).unwrap();
                file.set_modified(time).unwrap();
                let mut client = site.connect();
                for range in ranges {
                    let header = format!("range: bytes={range}\r\n");
                    let (head, body) = client.get(&size.to_string(), &header);
                    assert!(head.starts_with("HTTP/1.1 206"), "{range}: {head}");
                    bodies.push(body);
                }
                assert!(site.seen.stand_ins() == 0 || sendfile);
            });
            bodies
        };
        let (plain, sent) = (fetch(false), fetch(true));
        let first = &plain[1];
        check_coded(size as u64, 1, first);
        for ((range, plain), sent) in ranges.iter().zip(plain).zip(sent) {
            // Another file, so another inode: its number stands in the boundary, of any length.
            let (plain, sent) = (without_boundary(plain), without_boundary(sent));
            assert_eq!(plain.len(), sent.len(), "{range}");
            assert!(plain == sent, "{range}");
        }
    });
}

/// The body with the text of its boundary, if it begins with one, taken out.
fn without_boundary(body: Vec<u8>) -> Vec<u8> {
    if !body.starts_with(b"--") {
        return body;
    }
    let end = body.windows(2).position(|two| two == b"\r\n").unwrap();
    let boundary = body[..end].to_vec();
    let mut rest = &body[..];
    let mut out = Vec::new();
    while let Some(at) = memchr::memmem::find(rest, &boundary) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + boundary.len()..];
    }
    out.extend_from_slice(rest);
    out
}

#[test]
fn slow_readers_get_everything() {
    Case::new("slow_readers_get_everything").run(|| {
        with_site("slow", Limits::default(), true, |site| {
            let size = 4 * MIB + 5;
            site.file(size);
            site.file(100 * KIB);
            thread::scope(|scope| {
                for i in 0..4 {
                    scope.spawn(move || {
                        let mut client = site.connect_small();
                        client.send("GET", &size.to_string(), "");
                        client.send("GET", &(100 * KIB).to_string(), "");
                        thread::sleep(100 * i * MS);
                        let head = client.head().unwrap();
                        let mut body = vec![0; content_length(&head)];
                        for piece in body.chunks_mut(512 * KIB) {
                            thread::sleep(20 * MS);
                            client.0.read_exact(piece).unwrap();
                        }
                        check_coded(size as u64, 0, &body);
                        let (_, body) = client.answer();
                        check_coded(100 * KIB as u64, 0, &body);
                        client.check(100 * KIB);
                    });
                }
                // Others are served meanwhile.
                let mut client = site.connect();
                for _ in 0..20 {
                    client.check(100 * KIB);
                }
            });
        });
    });
}

#[test]
fn a_reader_that_goes_away_leaves_nothing() {
    Case::new("a_reader_that_goes_away_leaves_nothing").run(|| {
        with_site("gone", Limits::default(), true, |site| {
            let size = 10 * MIB;
            site.file(size);
            site.connect().check(size);
            let census = Census::take();
            for i in 0..40 {
                let mut client = site.connect();
                client.send("GET", &size.to_string(), "");
                if i % 4 != 0 {
                    client.0.read_exact(&mut vec![0; i * 50_000]).unwrap();
                }
                if i % 2 == 0 {
                    harness::net::reset(client.0.into_inner());
                }
            }
            census.assert_same();
            site.connect().check(size);
        });
    });
}

#[test]
fn a_file_that_is_cut_off_breaks_the_connection_off() {
    Case::new("a_file_that_is_cut_off_breaks_the_connection_off").run(|| {
        with_site("cut", Limits::default(), true, |site| {
            let (size, rest) = (48 * MIB, 24 * MIB);
            let path = site.file(size);
            let mut client = site.connect();
            client.send("GET", &size.to_string(), "");
            let head = client.head().unwrap();
            assert_eq!(content_length(&head), size);
            let mut body = vec![0; 5000];
            client.0.read_exact(&mut body).unwrap();
            thread::sleep(200 * MS);
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_len(rest as u64).unwrap();
            // Closed, or reset.
            let _ = client.0.read_to_end(&mut body);
            assert!(body.len() <= rest, "{} bytes", body.len());
            assert!(body.len() > MIB, "{} bytes", body.len());
            check_coded(size as u64, 0, &body);
            // What is there now is served.
            let (_, body) = site.connect().get(&size.to_string(), "");
            assert_eq!(body.len(), rest);
            check_coded(size as u64, 0, &body);
        });
    });
}

#[test]
fn without_a_free_slot_files_are_read() {
    Case::new("without_a_free_slot_files_are_read").run(|| {
        with_site("slots", Limits::default(), true, |site| {
            if !kernel_says(&site.directory) {
                return;
            }
            let size = 40 * KIB;
            site.file(size);
            site.seen.keeps.store(true, Ordering::SeqCst);
            let mut client = site.connect();
            for _ in 0..1024 {
                client.check(size);
            }
            assert_eq!(site.seen.stand_ins(), 1024);
            client.check(size);
            assert_eq!(site.seen.stand_ins(), 0);
            site.seen.keeps.store(false, Ordering::SeqCst);
            // Dropped on another thread than the server's.
            site.seen.kept.lock().unwrap().clear();
            client.check(size);
            assert_eq!(site.seen.stand_ins(), 1);
        });
    });
}

#[test]
fn holes_and_cold_files_arrive() {
    Case::new("holes_and_cold_files_arrive").run(|| {
        with_site("holes", Limits::default(), true, |site| {
            let size = 5 * MIB;
            let sparse = site.directory.join("sparse");
            let mut file = std::fs::File::create(&sparse).unwrap();
            file.set_len(size as u64).unwrap();
            io::Seek::seek(&mut file, io::SeekFrom::Start(2 * MIB as u64)).unwrap();
            file.write_all(&coded_bytes(9, 0, 100)).unwrap();
            let mut expected = vec![0; size];
            expected[2 * MIB..2 * MIB + 100].copy_from_slice(&coded_bytes(9, 0, 100));
            let cold = std::fs::File::open(site.file(size)).unwrap();
            for _ in 0..3 {
                let mut client = site.connect();
                let (_, body) = client.get("sparse", "");
                assert!(body == expected);
                evict(&cold);
                client.check(size);
                println!("{} stand-ins", site.seen.stand_ins());
            }
        });
    });
}

/// Asks the kernel to forget a file; whether it does is its own matter.
fn evict(file: &std::fs::File) {
    use std::os::fd::AsRawFd;
    file.sync_all().unwrap();
    // SAFETY: touches no memory.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

fn check_all(site: &Site) {
    let mut client = site.connect();
    for size in SIZES {
        site.file(size);
        client.check(size);
        client.send("GET", &size.to_string(), "range: bytes=0-0\r\n");
        assert_eq!(client.answer().1, coded_bytes(size as u64, 0, 1));
    }
    let mut slow = site.connect_small();
    slow.send("GET", &(3 * MIB).to_string(), "");
    thread::sleep(200 * MS);
    check_coded(3 * MIB as u64, 0, &slow.answer().1);
}

/// A filter refuses `sendfile(2)`: what stands for a file is read then, and nothing more is made.
#[test]
fn a_refused_sendfile_is_a_read() {
    for errno in [libc::EPERM, libc::ENOSYS, libc::EINVAL, libc::EOPNOTSUPP] {
        Case::new("a_refused_sendfile_is_a_read")
            .env("TEST_ERRNO", errno.to_string())
            .run(|| {
                let errno = std::env::var("TEST_ERRNO").unwrap().parse().unwrap();
                seccomp::deny(libc::SYS_sendfile as u32, errno);
                with_site("refused", Limits::default(), true, |site| {
                    check_all(site);
                    let stand_ins = site.seen.stand_ins();
                    println!("errno {errno}: {stand_ins} stand-ins");
                    if [libc::EPERM, libc::ENOSYS].contains(&errno) {
                        assert!(stand_ins <= 1, "{stand_ins}");
                    }
                });
            });
        if Case::is_child() {
            return;
        }
    }
}

/// Everything is right, and nothing of it a stand-in.
fn only_read(builder: corering::Builder, name: &'static str) {
    with_site_of(builder, name, Limits::default(), true, |site| {
        check_all(site);
        assert_eq!(site.seen.stand_ins(), 0);
    });
}

/// A kernel that does not say what it has in memory, a restricted runtime, no addresses left:
/// files are read.
#[test]
fn where_it_may_not_be_files_are_read() {
    Case::new("where_it_may_not_be_files_are_read").run(|| {
        let restrict = Restrict::listen() | Restrict::read_files();
        only_read(Runtime::builder().restrict(restrict), "restricted");
        thread::spawn(move || {
            seccomp::deny(451, libc::ENOSYS);
            only_read(Runtime::builder(), "cachestat");
        })
        .join()
        .unwrap();
    });
}

#[test]
fn without_addresses_files_are_read() {
    Case::new("without_addresses_files_are_read").run(|| {
        harness::set_soft_limit(libc::RLIMIT_AS, 900 << 20);
        only_read(Runtime::builder(), "addresses");
    });
}

#[test]
fn a_big_answer_is_finished_before_the_end() {
    Case::new("a_big_answer_is_finished_before_the_end").run(|| {
        with_site("drain", Limits::default(), true, |site| {
            let size = 40 * MIB;
            site.file(size);
            let mut client = site.connect_small();
            client.send("GET", &size.to_string(), "");
            let head = client.head().unwrap();
            site.handle.stop();
            thread::sleep(200 * MS);
            let mut body = vec![0; content_length(&head)];
            client.0.read_exact(&mut body).unwrap();
            check_coded(size as u64, 0, &body);
            assert_eq!(client.0.read(&mut [0]).unwrap(), 0, "closed then");
        });
    });
}

#[test]
fn a_reader_that_takes_nothing_is_given_up() {
    Case::new("a_reader_that_takes_nothing_is_given_up").run(|| {
        let limits = Limits {
            write_time: 1000 * MS,
            ..Limits::default()
        };
        let start = Instant::now();
        with_site("stuck", limits, true, |site| {
            let size = 40 * MIB;
            site.file(size);
            let mut client = site.connect_small();
            client.send("GET", &size.to_string(), "");
            client.head().unwrap();
            let census = Census::take();
            assert_eq!(census.count(&site.directory.to_string_lossy()), 2);
            while Census::take().count(&size.to_string()) > 0 {
                assert!(start.elapsed() < 30_000 * MS, "it still waits");
                thread::sleep(50 * MS);
            }
            let mut rest = Vec::new();
            let _ = client.0.read_to_end(&mut rest);
            assert!(rest.len() < size);
            check_coded(size as u64, 0, &rest);
        });
    });
}

/// A service that was asked for stand-ins, but is not behind `serve`: the contents come.
#[test]
fn other_ways_to_the_files_get_the_contents() {
    Case::new("other_ways_to_the_files_get_the_contents").run(|| {
        with_site("other", Limits::default(), true, |site| {
            let size = 2 * MIB + 9;
            site.file(size);
            let directory = site.directory.clone();
            corering::block_on(async {
                let files = ServeDir::open(&directory).await.unwrap().sendfile(true);
                // Asked by the program itself.
                let request = Request::get(format!("/{size}")).body(()).unwrap();
                let answer: Response<_> = files.answer(&request).await;
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(body.len(), size);
                check_coded(size as u64, 0, &body);
                // By hyper alone.
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                corering::spawn(async move {
                    let (stream, _) = listener.accept().await.unwrap();
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(stream, files.into_service()).await;
                });
                let client = thread::spawn(move || {
                    let stream = TcpStream::connect(address).unwrap();
                    Client(BufReader::new(stream)).check(size);
                });
                while !client.is_finished() {
                    corering::time::sleep(5 * MS).await;
                }
                client.join().unwrap();
            });
        });
    });
}

/// A simulated kernel sends no files: the service is the same, and reads them.
#[cfg(feature = "sim")]
#[test]
fn a_simulated_server_reads_its_files() {
    use corering::net::TcpStream;
    const SIZE: usize = 300_000;
    let mut sim = corering::sim::Sim::new(7);
    let server = sim.host("server").boot(|_core| async {
        corering::fs::create_dir("/site").await.unwrap();
        let contents = coded_bytes(3, 0, SIZE);
        corering::fs::write("/site/file", contents).await.unwrap();
        let files = ServeDir::open("/site").await.unwrap().sendfile(true);
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        serve(listener, files.into_service(), Limits::default())
            .await
            .unwrap();
    });
    let client = sim.host("client").boot(|_core| async {});
    let address = SocketAddr::new(server.address(), 80);
    let answer = sim.block_on(&client, async move {
        let mut stream = loop {
            match TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(_) => corering::time::sleep(10 * MS).await,
            }
        };
        let request = b"GET /file HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        while let Some(bytes) = stream.recv().await.unwrap() {
            answer.extend_from_slice(&bytes);
        }
        answer
    });
    let (head, body) = answer.split_at(answer.len() - SIZE);
    assert!(head.starts_with(b"HTTP/1.1 200") && head.ends_with(b"\r\n\r\n"));
    check_coded(3, 0, body);
}
