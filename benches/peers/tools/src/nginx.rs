//! nginx with one worker, as a file server and as the origin of the downloads.
//!
//! It takes over a socket that listens already, by the way that an upgrade of a running nginx hands
//! over its sockets: so the port is free for sure, and a client may come before nginx is up. It
//! takes over this process, too: who ends the one ends the other.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Its own files, in the folder that it serves: they are gone with that.
const OWN_FOLDER: &str = ".nginx";

pub(crate) fn run(files: &peer::ServeFiles) -> peer::Served {
    let mut version = Command::new("nginx");
    let version = version
        .arg("-v")
        .output()
        .map_err(|error| crate::not_started(&version, error))?;
    if !version.status.success() {
        return Err(io::Error::other("`nginx -v` fails").into());
    }
    let root = files.root.canonicalize()?;
    let own = root.join(OWN_FOLDER);
    fs::create_dir_all(&own)?;
    let listener = peer::serve::listen(files.port)?;
    let port = listener.local_addr()?.port();
    let config = own.join("nginx.conf");
    fs::write(&config, configuration(&root, &own, port))?;
    peer::serve::ready(port)?;
    keep_open(&listener)?;
    let mut nginx = Command::new("nginx");
    nginx
        .arg("-c")
        .arg(&config)
        .arg("-p")
        .arg(&own)
        .env("NGINX", format!("{};", listener.into_raw_fd()));
    let error = nginx.exec();
    Err(crate::not_started(&nginx, error))
}

fn configuration(root: &Path, own: &Path, port: u16) -> String {
    let (root, own) = (root.display(), own.display());
    // Workers of root are root's, because the folder may be.
    let user = if is_root() { "user root;" } else { "" };
    format!(
        "{user}
daemon off;
worker_processes 1;
pid {own}/pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_body_temp_path {own}/body;
    proxy_temp_path {own}/proxy;
    fastcgi_temp_path {own}/fastcgi;
    uwsgi_temp_path {own}/uwsgi;
    scgi_temp_path {own}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {root};
    }}
}}
"
    )
}

#[allow(unsafe_code)]
fn is_root() -> bool {
    // SAFETY: the call takes nothing, and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Clears the flag that would close it at the exec.
#[allow(unsafe_code)]
fn keep_open(listener: &TcpListener) -> io::Result<()> {
    // SAFETY: the call takes numbers.
    if unsafe { libc::fcntl(listener.as_raw_fd(), libc::F_SETFD, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
