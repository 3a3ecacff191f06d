//! Who is at the other end of a Unix socket, and what may go to it besides bytes.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::net::{UCred, UnixDatagram, UnixListener, UnixStream};
use harness::Case;
use std::path::PathBuf;

#[cfg(feature = "sim")]
corering::follow_the_seed!();

type Said = (Option<i32>, u32, u32);

fn said(cred: UCred) -> Said {
    (cred.pid(), cred.uid(), cred.gid())
}

/// What each end of each kind of connection says of the other one.
async fn credentials(path: PathBuf) -> Vec<Said> {
    let listener = UnixListener::bind(&path).expect("a new path");
    let (client, server) = futures::join!(UnixStream::connect(&path), listener.accept());
    let (client, (server, _)) = (client.expect("connected"), server.expect("accepted"));
    let (one, other) = UnixStream::pair().expect("a pair");
    let (left, right) = UnixDatagram::pair().expect("a pair");
    let streams = [&client, &server, &one, &other].map(UnixStream::peer_cred);
    let datagrams = [&left, &right].map(UnixDatagram::peer_cred);
    // Of a peer that is gone it is still known.
    drop((other, right));
    corering::time::sleep(std::time::Duration::from_millis(5)).await;
    let gone = [one.peer_cred(), left.peer_cred()];
    let all = streams.into_iter().chain(datagrams).chain(gone);
    all.map(|cred| said(cred.expect("known"))).collect()
}

#[test]
fn peers_are_known() {
    Case::new("peers_are_known").run(|| {
        let name = format!("corering-credentials-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let all = corering::block_on(credentials(path.clone()));
        std::fs::remove_file(path).expect("the test's own");
        // SAFETY: reads a number.
        let user = unsafe { libc::getuid() };
        // SAFETY: reads a number.
        let group = unsafe { libc::getgid() };
        let own = (Some(std::process::id() as i32), user, group);
        assert_eq!(all, [own; 8]);
    });
}

/// A host has one process, which is number 1 and root's.
#[cfg(feature = "sim")]
#[test]
fn peers_are_known_in_a_simulation() {
    corering::sim::seeds(0..50, |sim| {
        let host = sim.host("alone").boot(|_core| async {});
        let all = sim.block_on(&host, credentials("/socket".into()));
        assert_eq!(all, [(Some(1), 0, 0); 8]);
    });
}

/// Descriptors do not travel there, and the error says so; bytes go on.
#[cfg(feature = "sim")]
#[test]
fn a_simulation_passes_no_descriptors() {
    use std::io::ErrorKind;
    use std::os::fd::AsFd;
    corering::sim::seeds(0..20, |sim| {
        let host = sim.host("alone").boot(|_core| async {});
        let real = std::fs::File::open("/dev/null").expect("it is everywhere");
        sim.block_on(&host, async move {
            let (mut a, mut b) = UnixStream::pair().expect("a pair");
            let (c, d) = UnixDatagram::pair().expect("a pair");
            let (other, _) = UnixStream::pair().expect("a pair");
            for fd in [other.as_fd(), real.as_fd()] {
                let errors = [
                    a.send_with_fds(b"x", &[fd]).await,
                    c.send_with_fds(b"x", &[fd]).await,
                ];
                for error in errors {
                    let error = error.expect_err("not simulated");
                    assert_eq!(error.kind(), ErrorKind::Unsupported);
                    assert!(error.to_string().contains("send a path"), "{error}");
                }
            }
            let sent = a.send_with_fds(b"only bytes", &[]).await.expect("sent");
            let mut room = [0; 16];
            let mut read = 0;
            while read < sent {
                let (n, fds) = b.recv_with_fds(&mut room[read..]).await.expect("received");
                assert!(n > 0 && fds.is_empty());
                read += n;
            }
            assert!(sent > 0 && room[..sent] == b"only bytes"[..sent]);
            c.send_with_fds(b"whole", &[]).await.expect("sent");
            let (n, fds) = d.recv_with_fds(&mut room).await.expect("received");
            assert_eq!((&room[..n], fds.len()), (&b"whole"[..], 0));
        });
    });
}
