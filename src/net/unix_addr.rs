//! The addresses of Unix sockets: paths, abstract names, or none.

use socket2::SockAddr;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

/// The longest path that the kernel takes, in bytes: `sun_path` without its NUL.
const PATH_BYTES_MAX: usize = 107;

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what.into())
}

/// The address that is this path; whatever bytes it has, except NUL.
pub(super) fn of_path(path: &Path) -> io::Result<SockAddr> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() {
        return Err(invalid("the path of the socket is empty: give it a name"));
    }
    if bytes.contains(&0) {
        return Err(invalid(
            "the path of the socket has a NUL: make an abstract name with \
             SocketAddr::from_abstract_name, and use the function that ends with _addr",
        ));
    }
    if bytes.len() > PATH_BYTES_MAX {
        return Err(invalid(format!(
            "the path of the socket has {} bytes, {PATH_BYTES_MAX} are the most: use a shorter \
             one, such as one from the current directory",
            bytes.len()
        )));
    }
    SockAddr::unix(path)
}

/// The same address as the kernel takes it.
pub(super) fn of_address(address: &SocketAddr) -> io::Result<SockAddr> {
    if let Some(path) = address.as_pathname() {
        return of_path(path);
    }
    let mut name = Vec::new();
    if let Some(abstract_name) = address.as_abstract_name() {
        name.push(0);
        name.extend_from_slice(abstract_name);
    }
    SockAddr::unix(OsStr::from_bytes(&name))
}

/// The address of a Unix socket as the standard library has it; one without a name is unnamed.
pub(super) fn unix_addr(address: SockAddr) -> io::Result<SocketAddr> {
    if let Some(name) = address.as_abstract_namespace() {
        return SocketAddr::from_abstract_name(name);
    }
    match address.as_pathname() {
        Some(path) => SocketAddr::from_pathname(path),
        None => unnamed(),
    }
}

pub(super) fn unnamed() -> io::Result<SocketAddr> {
    SocketAddr::from_pathname("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_out_as_they_went_in() {
        let path = SocketAddr::from_pathname(OsStr::from_bytes(b"/tmp/\xff\xfe")).expect("bytes");
        let name = SocketAddr::from_abstract_name(b"a\0b").expect("any bytes");
        for address in [path, name, unnamed().expect("no name")] {
            let through = unix_addr(of_address(&address).expect("taken")).expect("given back");
            assert_eq!(format!("{through:?}"), format!("{address:?}"));
        }
    }

    #[test]
    fn paths_that_are_none_are_refused_with_the_cure() {
        let long = "x".repeat(PATH_BYTES_MAX + 1);
        for (path, cure) in [
            ("", "name"),
            ("\0abstract", "from_abstract_name"),
            (&long, "107"),
        ] {
            let error = of_path(Path::new(path)).expect_err("no path");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(cure), "{error}");
        }
        assert!(of_path(Path::new(&long[1..])).is_ok());
    }
}
