//! `corering get`: files over HTTP, many at a time, each one whole or not at all.
//!
//! ```text
//! jobs(urls) --> fetch, `-j` at a time --> temporary file --> accept(status)
//!                                                               |
//!                            rename to its name <-- complete(announced, received)
//! ```
//!
//! On Ctrl-C the running fetches are dropped, and with each of them its temporary file.

use hyper::{StatusCode, Uri};

use corering::http::path::{UniqueNames, file_name_from_url_path};

use crate::args::Get;
use crate::fail::Failure;
use crate::progress::Tally;

/// Downloads them all.
///
/// # Errors
/// When any download failed; each one has been reported by then.
pub(crate) fn run(args: &Get) -> Result<(), Failure> {
    unimplemented!("needs the runtime: {args:?}")
}

/// One download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) url: Uri,
    /// The name to save as, which no other job has.
    pub(crate) name: String,
}

/// The URLs with the names that they are saved as.
pub(crate) fn jobs(urls: &[Uri]) -> Vec<Job> {
    let mut names = UniqueNames::default();
    let job = |url: &Uri| Job {
        url: url.clone(),
        name: names.claim(&file_name_from_url_path(url.path())),
    };
    urls.iter().map(job).collect()
}

/// The `host:port` to connect to; the value of `Host` is the URL's authority as it stands.
pub(crate) fn address(url: &Uri) -> (String, u16) {
    let host = url.host().unwrap_or_default();
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    (host.to_owned(), url.port_u16().unwrap_or(80))
}

/// Whether an answer with this status has the file as its body.
pub(crate) fn accept(status: StatusCode, location: Option<&str>) -> Result<(), String> {
    match location {
        _ if status == StatusCode::OK => Ok(()),
        Some(location) if status.is_redirection() => {
            // It is the server's text, and goes to a terminal.
            Err(format!(
                "the server answered {status}: it is at {}",
                location.escape_debug()
            ))
        }
        _ => Err(format!("the server answered {status}")),
    }
}

/// Whether the whole file has come. Without an announced length the end of the body is the word of
/// the HTTP engine, which fails on a chunked body that breaks off.
pub(crate) fn complete(announced: Option<u64>, received: u64) -> Result<(), String> {
    match announced {
        Some(announced) if announced != received => {
            Err(format!("{received} bytes came instead of {announced}"))
        }
        _ => Ok(()),
    }
}

/// The end of the program: status 1 when any download failed, or did not run.
pub(crate) fn verdict(tally: &Tally, jobs: usize) -> Result<(), Failure> {
    if tally.complete == jobs {
        return Ok(());
    }
    let missing = jobs - tally.complete;
    Err(Failure::new(
        "not everything was downloaded",
        format!("{missing} of {jobs} are missing"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn every_job_has_its_own_name() {
        let urls = [
            "http://a/x.iso",
            "http://b/x.iso?v=2",
            "http://a/",
            "http://a",
            "http://a/%2e%2e",
        ];
        let names: Vec<String> = jobs(&urls.map(uri))
            .into_iter()
            .map(|job| job.name)
            .collect();
        assert_eq!(
            names,
            ["x.iso", "x.1.iso", "index.html", "index.1.html", "download"]
        );
    }

    #[test]
    fn addresses() {
        assert_eq!(
            address(&uri("http://example.org/a")),
            ("example.org".to_owned(), 80)
        );
        assert_eq!(
            address(&uri("http://[::1]:8080/a")),
            ("::1".to_owned(), 8080)
        );
    }

    #[test]
    fn only_a_whole_file_counts() {
        assert_eq!(accept(StatusCode::OK, None), Ok(()));
        for status in [204, 206, 304, 404, 500] {
            assert!(
                accept(StatusCode::from_u16(status).unwrap(), None).is_err(),
                "{status}"
            );
        }
        let moved = accept(StatusCode::FOUND, Some("https://b/\u{1b}[2J")).unwrap_err();
        assert_eq!(
            moved,
            "the server answered 302 Found: it is at https://b/\\u{1b}[2J"
        );
        assert_eq!(complete(Some(5), 5), Ok(()));
        assert_eq!(complete(None, 5), Ok(()));
        assert_eq!(
            complete(Some(5), 4).unwrap_err(),
            "4 bytes came instead of 5"
        );
        assert!(complete(Some(0), 1).is_err());
    }

    #[test]
    fn the_exit_status_counts_what_is_missing() {
        let tally = Tally {
            complete: 2,
            failed: 1,
            bytes: 0,
        };
        assert!(verdict(&tally, 2).is_ok());
        let failure = verdict(&tally, 4).unwrap_err().to_string();
        assert!(failure.ends_with("2 of 4 are missing"), "{failure}");
    }
}
