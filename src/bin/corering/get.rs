//! `corering get`: files over HTTP, many at a time, each one whole or not at all.
//!
//! ```text
//! jobs(urls) --> fetch, `-j` at a time --> accept(status) --> temporary file
//!                                                               |
//!                            rename to its name <-- complete(announced, received)
//! ```
//!
//! On Ctrl-C the fetches end where they wait for the network. What has begun on the disk is not
//! interrupted: so each of them knows whether its temporary file exists, and removes it.

use std::cell::Cell;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use corering::Runtime;
use corering::fs::{self, File, FileWriter};
use corering::http::path::{UniqueNames, file_name_from_url_path};
use corering::http::{Answer, Client, ClientError, ClientLimits};
use corering::signal::SignalKind;
use corering::sync::Notify;
use corering::task::JoinSet;
use corering::time::sleep;
use corering::tls::pki_types::{CertificateDer, pem::PemObject};
use corering::tls::{TlsConnector, rustls::RootCertStore};
use hyper::header::LOCATION;
use hyper::{StatusCode, Uri};

use crate::args::Get;
use crate::fail::{Failure, OrFail};
use crate::progress::{Download, DownloadBars, TICK, Tally};
use crate::race::{First, race};
use crate::serve::Signals;

/// Downloads them all.
///
/// # Errors
/// When any download failed; each one has been reported by then. A signal ends the program.
pub(crate) fn run(args: &Get) -> Result<(), Failure> {
    let jobs = jobs(&args.urls);
    let total = jobs.len();
    let mut runtime = Runtime::new().map_err(|error| Failure::new("cannot start", error))?;
    let (tally, interrupted) = runtime.block_on(download_all(args, jobs))?;
    drop(runtime);
    if let Some(kind) = interrupted {
        std::process::exit(128 + kind.as_raw_value());
    }
    verdict(&tally, total)
}

/// Returns how it ended, and the signal that ended it early.
async fn download_all(args: &Get, jobs: Vec<Job>) -> Result<(Tally, Option<SignalKind>), Failure> {
    let mut signals = Signals::new().or_fail(|| "cannot listen to signals".to_owned())?;
    let directory = args.output.clone();
    let made = fs::create_dir_all(&directory).await;
    made.or_fail(|| format!("cannot make {}", directory.display()))?;
    let client = client(args).await?;
    let bars = DownloadBars::new(jobs.len(), Instant::now(), args.quiet);
    let fetcher = Rc::new(Fetcher {
        client,
        redirects_max: args.max_redirs.into(),
        directory,
        bars: bars.clone(),
        cancel: Cancel::default(),
        temporary: Cell::new(0),
    });
    let running = jobs.len().min(args.jobs as usize);
    let queue = Rc::new(Cell::new(jobs.into_iter()));
    let mut workers = JoinSet::new();
    for _ in 0..running {
        workers.spawn(fetcher.clone().work(queue.clone()));
    }
    let mut interrupted = None;
    while !workers.is_empty() {
        match race(signals.next(), race(workers.join_next(), sleep(TICK))).await {
            First::Left(kind) if interrupted.is_none() => {
                interrupted = Some(kind);
                fetcher.cancel.now();
            }
            First::Left(kind) => std::process::exit(128 + kind.as_raw_value()),
            First::Right(_) => bars.tick(Instant::now()),
        }
    }
    let summary = bars.finish(Instant::now());
    if !args.quiet {
        eprintln!("corering: {summary}");
    }
    Ok((bars.tally(), interrupted))
}

async fn client(args: &Get) -> Result<Client, Failure> {
    let limits = ClientLimits {
        connections_per_host: args.jobs as usize,
        connect_time: args.timeout,
        read_time: args.timeout,
        ..ClientLimits::default()
    };
    let Some(file) = &args.cacert else {
        return Ok(Client::new(limits));
    };
    let bundle = fs::read(file).await;
    let bundle = bundle.or_fail(|| format!("cannot read {}", file.display()))?;
    let roots = roots(&bundle).map_err(|why| {
        Failure::new(format!("{} has no authority to trust", file.display()), why)
            .with_cure("give a file of certificates in PEM: -----BEGIN CERTIFICATE-----")
    })?;
    let connector = TlsConnector::with_roots(roots);
    Ok(Client::with_tls(limits, connector))
}

/// All certificates of a file, each of which must be one: a root that is left out unsaid looks
/// like an attack later.
fn roots(bundle: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    match roots.is_empty() {
        true => Err("no certificate stands in it".to_owned()),
        false => Ok(roots),
    }
}

/// Says that everything shall end, to those who wait for the network.
#[derive(Debug, Default)]
struct Cancel {
    wanted: Cell<bool>,
    told: Notify,
}

impl Cancel {
    fn now(&self) {
        self.wanted.set(true);
        self.told.notify_waiters();
    }

    /// The output of `future`, or `None` when everything shall end.
    async fn unless<F: Future>(&self, future: F) -> Option<F::Output> {
        if self.wanted.get() {
            return None;
        }
        let told = pin!(self.told.notified());
        match race(told, future).await {
            First::Left(()) => None,
            First::Right(output) => Some(output),
        }
    }
}

/// What all downloads share.
struct Fetcher {
    client: Client,
    redirects_max: usize,
    directory: PathBuf,
    bars: Rc<DownloadBars>,
    cancel: Cancel,
    /// The number of the next temporary file.
    temporary: Cell<u64>,
}

type Queue = Rc<Cell<std::vec::IntoIter<Job>>>;

impl Fetcher {
    async fn work(self: Rc<Self>, queue: Queue) {
        loop {
            let mut jobs = queue.take();
            let next = jobs.next();
            queue.set(jobs);
            match next {
                Some(job) if !self.cancel.wanted.get() => self.fetch(job).await,
                _ => return,
            }
        }
    }

    /// Downloads one file, and says how that ended.
    async fn fetch(&self, job: Job) {
        let answer = match self.cancel.unless(self.ask(&job.url)).await {
            None => return,
            Some(Err(error)) => {
                return self.bars.start(&job.name, None).failed(&job.url, error);
            }
            Some(Ok(answer)) => answer,
        };
        let download = self.bars.start(&job.name, answer.content_length());
        let location = answer.headers().get(LOCATION);
        let location = location.and_then(|location| location.to_str().ok());
        let result = match accept(answer.status(), location) {
            Ok(()) => self.save(&job, answer, &download).await,
            Err(why) => Err(why),
        };
        match result {
            Ok(true) => download.complete(),
            Ok(false) => {}
            Err(why) => download.failed(&job.url, why),
        }
    }

    /// Without any redirect the answer itself says where the file is.
    async fn ask(&self, url: &Uri) -> Result<Answer, ClientError> {
        match self.redirects_max {
            0 => self.client.get(url).await,
            max => self.client.get_following(url, max).await,
        }
    }

    /// Saves the body under the job's name; `false` if everything shall end.
    async fn save(&self, job: &Job, answer: Answer, download: &Download) -> Result<bool, String> {
        let cannot = |what: &str, path: &Path, error: std::io::Error| {
            Failure::io(format!("cannot {what} {}", path.display()), &error).reason()
        };
        let (file, temporary) = self
            .temporary_file()
            .await
            .map_err(|error| cannot("write to", &self.directory, error))?;
        let poured = self.cancel.unless(pour(answer, file, download)).await;
        let to = self.directory.join(&job.name);
        let result = match poured {
            None => Ok(false),
            Some(Ok(_)) => match fs::rename(&temporary, &to).await {
                Ok(()) => return Ok(true),
                Err(error) => Err(cannot("make", &to, error)),
            },
            Some(Err(why)) => Err(why),
        };
        // What cannot be removed either is named, for somebody to look at.
        match fs::remove_file(&temporary).await {
            Ok(()) => result,
            Err(error) => Err(cannot("remove", &temporary, error)),
        }
    }

    /// A new file in the directory of the result, so that a rename is all that is left to do.
    async fn temporary_file(&self) -> std::io::Result<(File, PathBuf)> {
        loop {
            let number = self.temporary.replace(self.temporary.get() + 1);
            let name = format!(".corering-{}-{number}.part", std::process::id());
            let path = self.directory.join(name);
            match File::create_new(&path).await {
                Ok(file) => return Ok((file, path)),
                // What a killed process of the same number has left behind.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Counts the bytes of a body as they come.
pub(crate) trait Count {
    fn add(&self, bytes: u64);
}

impl Count for Download {
    fn add(&self, bytes: u64) {
        Download::add(self, bytes);
    }
}

/// Writes the whole body of an answer into a file; returns how many bytes that were.
pub(crate) async fn pour(
    mut answer: Answer,
    file: File,
    count: &impl Count,
) -> Result<u64, String> {
    let announced = answer.content_length();
    let mut writer = FileWriter::new(file);
    let mut received = 0;
    let cannot_write = |error| Failure::io("cannot write", &error).reason();
    while let Some(chunk) = answer.chunk().await.map_err(|error| error.to_string())? {
        received += chunk.len() as u64;
        count.add(chunk.len() as u64);
        writer.write_owned(chunk).await.map_err(cannot_write)?;
    }
    complete(announced, received)?;
    let file = writer.finish().await.map_err(cannot_write)?;
    file.close().await.map_err(cannot_write)?;
    Ok(received)
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
