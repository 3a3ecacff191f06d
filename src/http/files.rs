//! The file service: carries [`Plan`]s out.

use super::body::FileBody;
use super::conditional::FileVersion;
use super::listing::{self, Entry};
use super::path::RequestPath;
use super::plan::{Plan, admit};
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
        })
    }

    /// Whether a directory without an `index.html` is listed; otherwise it is 403. On by default.
    #[must_use]
    pub fn listing(mut self, listing: bool) -> ServeDir {
        self.listing = listing;
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
        send(request, path.relative(), file, &metadata).await
    }

    async fn open_file(&self, path: &Path) -> io::Result<(File, Metadata)> {
        let file = self.root.open_file(path).await?;
        let metadata = file.cached_metadata()?;
        Ok((file, metadata))
    }

    async fn directory<B>(&self, request: &Request<B>, path: &RequestPath) -> Response<FileBody> {
        let method = request.method();
        if !path.has_trailing_slash() {
            return without_file(Plan::redirect_to_directory(method, path));
        }
        let index = path.relative().join("index.html");
        match self.open_file(&index).await {
            Ok((file, metadata)) if metadata.is_file() => {
                return send(request, &index, file, &metadata).await;
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

async fn send<B>(
    request: &Request<B>,
    name: &Path,
    file: File,
    metadata: &Metadata,
) -> Response<FileBody> {
    let version = FileVersion::of(metadata);
    let method = request.method();
    let mut plan = Plan::file(method, request.headers(), name, &version, time_of_day());
    let planned = std::mem::replace(&mut plan.body, super::Body::Empty);
    match FileBody::planned(planned, file).await {
        Ok(body) => respond(plan, body),
        // Nothing is sent yet, so it can be said.
        Err(error) => without_file(Plan::open_failed(method, &error)),
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
