//! The file service: carries [`Plan`]s out.

use super::body::{FileBody, Way};
use super::conditional::FileVersion;
use super::listing::{self, Entry};
use super::path::RequestPath;
use super::plan::{Plan, admit};
use super::send_files;
use crate::fs::{File, Metadata, Root};
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, StatusCode};
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::SystemTime;

/// Serves the files of a directory: ranges, conditional requests, index pages.
///
/// A path never leads out of the directory, whatever it says and wherever symbolic links point
/// ([`Root`]). A directory answers with its `index.html`, or with a listing. Clones share one
/// open directory; each core opens its own.
///
/// ```no_run
/// use corering::http::{Limits, ServeDir, serve};
/// use corering::net::TcpListener;
///
/// # async fn f() -> std::io::Result<()> {
/// let files = ServeDir::open("public").await?;
/// let listener = TcpListener::bind("127.0.0.1:8080").await?;
/// serve(listener, files.into_service(), Limits::default()).await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ServeDir {
    root: Rc<Root>,
    listing: bool,
    sendfile: bool,
}

impl ServeDir {
    /// Opens the directory.
    ///
    /// # Errors
    /// `NotADirectory`, `NotFound` and what else the kernel says.
    ///
    /// # Panics
    /// Outside of a runtime.
    ///
    /// # Cancel safety
    /// Dropping it leaves nothing behind: the late descriptor closes itself.
    pub async fn open(directory: impl AsRef<Path>) -> io::Result<ServeDir> {
        Ok(ServeDir {
            root: Rc::new(Root::open(directory).await?),
            listing: true,
            sendfile: false,
        })
    }

    /// Whether a directory without an `index.html` is listed; otherwise it is 403. On by default.
    #[must_use]
    pub fn listing(mut self, listing: bool) -> ServeDir {
        self.listing = listing;
        self
    }

    /// Whether the kernel sends files from its own memory (`sendfile(2)`), instead of from a copy
    /// that was read for it. Off by default; for files of 100 KiB and more it costs far less.
    ///
    /// It is right only if nothing between this and [`serve`](super::serve()) looks at the body:
    /// nothing may compress, collect, hash or store it. Its frames are then *stand-ins*, with the
    /// right length and other bytes (a text that says so, and zeros), which the connection that
    /// the request came by replaces on their way. A request that came otherwise (over TLS, through
    /// hyper alone, made by the program itself) is answered with the contents, whatever this says.
    ///
    /// Parts of 32 KiB and more are sent this way if the kernel has them in memory, and says so
    /// (`cachestat(2)`, since Linux 6.5; not on overlayfs; newer kernels say it only of files that
    /// the server owns or may write). All others are read as before, and so is everything on a
    /// [restricted](crate::Restrict) runtime and on file systems that ask a server. Each core that
    /// sends files reserves 1 GiB of addresses, which is no memory.
    ///
    /// Who changes a file while it is sent changes what is under way: the peer may get any mixture
    /// of old and new, and zeros from where the file was cut off up to the end of that page.
    /// Files that are replaced ([`fs::write_atomic`](crate::fs::write_atomic()), `mv`, `rsync`)
    /// arrive as they were.
    ///
    /// ```no_run
    /// # async fn f() -> std::io::Result<()> {
    /// let files = corering::http::ServeDir::open("public").await?.sendfile(true);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn sendfile(mut self, sendfile: bool) -> ServeDir {
        self.sendfile = sendfile;
        if sendfile {
            send_files::want();
        }
        self
    }

    /// This as a service for [`serve`](super::serve()), or for hyper itself.
    pub fn into_service<B: hyper::body::Body + 'static>(
        self,
    ) -> impl Service<
        Request<B>,
        Response = Response<FileBody>,
        Error = Infallible,
        Future = impl Future<Output = Result<Response<FileBody>, Infallible>>,
    > + Clone {
        service_fn(move |request: Request<B>| {
            let files = self.clone();
            async move { Ok(files.answer(&request).await) }
        })
    }

    /// The answer to a request. Errors are answers too.
    ///
    /// # Cancel safety
    /// Safe: nothing is left behind.
    pub async fn answer<B>(&self, request: &Request<B>) -> Response<FileBody> {
        let method = request.method();
        let path = match admit(method, request.uri().path()) {
            Ok(path) => path,
            Err(plan) => return without_file(*plan),
        };
        let (file, metadata) = match self.open_file(path.relative()).await {
            Ok(opened) => opened,
            Err(error) => return without_file(Plan::open_failed(method, &error)),
        };
        if metadata.is_dir() {
            return self.directory(request, &path).await;
        }
        if !metadata.is_file() || path.has_trailing_slash() {
            return without_file(Plan::error(method, StatusCode::NOT_FOUND));
        }
        self.send(request, path.relative(), file, &metadata).await
    }

    async fn open_file(&self, path: &Path) -> io::Result<(File, Metadata)> {
        let file = self.root.open_file(path).await?;
        let metadata = file.cached_metadata()?;
        Ok((file, metadata))
    }

    async fn send<B>(
        &self,
        request: &Request<B>,
        name: &Path,
        file: File,
        metadata: &Metadata,
    ) -> Response<FileBody> {
        let version = FileVersion::of(metadata);
        let method = request.method();
        let mut plan = Plan::file(method, request.headers(), name, &version, time_of_day());
        let planned = std::mem::replace(&mut plan.body, super::Body::Empty);
        let way = match self.sendfile && send_files::is_marked(request) {
            true => Way::SendFile,
            false => Way::Read,
        };
        match FileBody::planned(planned, file, way).await {
            Ok(body) => respond(plan, body),
            // Nothing is sent yet, so it can be said.
            Err(error) => without_file(Plan::open_failed(method, &error)),
        }
    }

    async fn directory<B>(&self, request: &Request<B>, path: &RequestPath) -> Response<FileBody> {
        let method = request.method();
        if !path.has_trailing_slash() {
            return without_file(Plan::redirect_to_directory(method, path));
        }
        let index = path.relative().join("index.html");
        match self.open_file(&index).await {
            Ok((file, metadata)) if metadata.is_file() => {
                return self.send(request, &index, file, &metadata).await;
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return without_file(Plan::open_failed(method, &error));
            }
            _ if !self.listing => {
                return without_file(Plan::error(method, StatusCode::FORBIDDEN));
            }
            _ => {}
        }
        without_file(match self.entries(path.relative()).await {
            Ok(entries) => Plan::page(method, listing::page(path, entries)),
            Err(error) => Plan::open_failed(method, &error),
        })
    }

    /// What the index page shows. A directory that is larger than a page is not asked for more
    /// than twice of it.
    async fn entries(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut listed = self.root.read_dir(path).await?;
        let mut entries = Vec::new();
        while let Some(entry) = listed.next_entry().await? {
            // Looked at below the root, so that a link to elsewhere shows nothing of it; what is
            // gone by now, or may not be read, is left out.
            let name = entry.file_name();
            if let Ok((_, metadata)) = self.open_file(&path.join(&name)).await {
                entries.push(Entry {
                    name,
                    directory: metadata.is_dir(),
                    len: metadata.len(),
                    modified: metadata.modified().ok(),
                });
            }
            if entries.len() > 2 * listing::ENTRIES_MAX {
                break;
            }
        }
        Ok(entries)
    }
}

/// The time of the request.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this module that reads the time of day"
)]
fn time_of_day() -> SystemTime {
    SystemTime::now()
}

fn without_file(mut plan: Plan) -> Response<FileBody> {
    let body = match std::mem::replace(&mut plan.body, super::Body::Empty) {
        super::Body::Text(text) => text.into(),
        _ => FileBody::empty(),
    };
    respond(plan, body)
}

fn respond(plan: Plan, body: FileBody) -> Response<FileBody> {
    let mut response = Response::new(body);
    *response.status_mut() = plan.status;
    *response.headers_mut() = plan.headers;
    response
}
