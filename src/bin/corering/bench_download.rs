//! `corering bench download`: files over HTTP/1.1 into files, every byte checked.
//!
//! The server side reads real files with the ring, the load side writes real files with it. Files
//! are made before and checked after the measured time, by ordinary blocking code.

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use corering::Handle;
use corering::fs::File;
use corering::http::{Client, ClientLimits};
use corering::task::JoinSet;
use corering::time::sleep;

use crate::args::BenchDownload;
use crate::bench::{Board, Counters, Phase, Sides, Snapshot, add, listen, merged};
use crate::fail::{Failure, OrFail};
use crate::get::{Count, pour};
use crate::load::{Mode, Recorder};
use crate::progress::{BenchLine, Goal, TICK};
use crate::race::{First, race};
use crate::report::{Measurement, Report};
use crate::serve::{self, Signals};
use crate::workspace::{Workspace, object_name};

/// Makes the files, runs the rounds and returns their report.
pub(crate) fn run(args: &BenchDownload) -> Result<Report, Failure> {
    let workspace = Workspace::create(args.dir.as_deref(), args.keep)
        .or_fail(|| "cannot make a directory for the files".to_owned())?;
    let sides = Sides::of(&args.cores);
    let mut runtime = sides.runtime()?;
    let made = runtime.block_on(unless_interrupted(measure(args, &sides, &workspace)));
    drop(runtime);
    match made {
        Ok(rounds) => Ok(Report::new(
            "corering bench download",
            args,
            Mode::Closed,
            rounds?,
        )),
        Err(code) => {
            drop(workspace);
            std::process::exit(code);
        }
    }
}

/// The output of `future`, or the exit status after a signal.
async fn unless_interrupted<F: Future>(future: F) -> Result<F::Output, i32> {
    let Ok(mut signals) = Signals::new() else {
        return Ok(future.await);
    };
    match race(signals.next(), future).await {
        First::Left(kind) => Err(128 + kind.as_raw_value()),
        First::Right(output) => Ok(output),
    }
}

async fn measure(
    args: &BenchDownload,
    sides: &Sides,
    workspace: &Workspace,
) -> Result<Vec<Measurement>, Failure> {
    for index in 0..args.objects {
        let made = workspace.make_object(index, args.size);
        let made = made.and_then(|()| workspace.make_download(index));
        made.or_fail(|| format!("cannot make a file in {}", workspace.root().display()))?;
        // A signal may end it here.
        corering::yield_now().await;
    }
    let handle = Handle::current();
    let objects = workspace.objects();
    let serve = move |listener| serve::files_on(objects.clone(), false, listener);
    let servers = listen(&handle, sides, serve).await?;
    let mut rounds = Vec::new();
    for number in 1..=args.cores.rounds {
        let label = match args.cores.rounds {
            1 => "download".to_owned(),
            rounds => format!("download {number}/{rounds}"),
        };
        let mut measured = round(args, sides, &servers, workspace, &label).await?;
        check(args, workspace, &mut measured).await;
        rounds.push(measured);
    }
    Ok(rounds)
}

async fn round(
    args: &BenchDownload,
    sides: &Sides,
    servers: &[SocketAddr],
    workspace: &Workspace,
    label: &str,
) -> Result<Measurement, Failure> {
    let handle = Handle::current();
    let board = Board::new(sides, Phase::Measure);
    let goal = Goal::Requests(u64::from(args.objects));
    let before = Snapshot::take(&handle).await?;
    let start = Instant::now();
    let mut line = BenchLine::new(label, goal, start, args.output.quiet);
    let next = Arc::new(AtomicU32::new(0));
    let load = sides.load.clone().enumerate().map(|(core, place)| {
        let plan = Plan {
            args: args.clone(),
            server: servers[core % servers.len()],
            downloads: workspace.downloads(),
            board: board.clone(),
            next: next.clone(),
            core,
            jobs: share(args.jobs as usize, sides.load.len(), core),
        };
        handle.spawn_on(place, move || plan.run())
    });
    let load = load.collect();
    let mut done = std::pin::pin!(merged(load));
    let latency = loop {
        match race(done.as_mut(), sleep(TICK)).await {
            First::Left(latency) => break latency?,
            First::Right(()) => board.show(&mut line),
        }
    };
    let elapsed = start.elapsed();
    let after = Snapshot::take(&handle).await?;
    board.show(&mut line);
    let [requests, bytes, errors] = board.total();
    Ok(Measurement {
        elapsed,
        requests,
        bytes,
        errors,
        latency: latency.histogram().clone(),
        server: after.cost(&before, &sides.server),
        load: after.cost(&before, &sides.load),
        over_time: line.finish(),
    })
}

/// How many of `jobs` fall to one of `cores`; at least one.
fn share(jobs: usize, cores: usize, core: usize) -> usize {
    let more = usize::from(core < jobs % cores);
    (jobs / cores + more).max(1)
}

/// Reads all downloads back. A wrong one is an error, and no finished request.
async fn check(args: &BenchDownload, workspace: &Workspace, measured: &mut Measurement) {
    let mut wrong = 0;
    for index in 0..args.objects {
        if let Err(error) = workspace.check_download(index, args.size) {
            // One that failed was counted when it did.
            if error.kind() != std::io::ErrorKind::NotFound {
                eprintln!("corering: {error}");
                wrong += 1;
            }
        }
        corering::yield_now().await;
    }
    measured.errors += wrong;
    measured.requests = measured.requests.saturating_sub(wrong);
}

/// What one core of the load does.
struct Plan {
    args: BenchDownload,
    server: SocketAddr,
    downloads: PathBuf,
    board: Arc<Board>,
    /// The next file that nobody has begun.
    next: Arc<AtomicU32>,
    core: usize,
    jobs: usize,
}

impl Plan {
    async fn run(self) -> Recorder {
        let client = Client::new(ClientLimits {
            connections_per_host: self.jobs,
            ..ClientLimits::default()
        });
        let plan = Rc::new(self);
        let recorder = Rc::new(RefCell::new(Recorder::new()));
        let mut workers = JoinSet::new();
        for _ in 0..plan.jobs {
            workers.spawn(plan.clone().work(client.clone(), recorder.clone()));
        }
        while workers.join_next().await.is_some() {}
        recorder.replace(Recorder::new())
    }

    async fn work(self: Rc<Self>, client: Client, recorder: Rc<RefCell<Recorder>>) {
        let counters = self.board.counters(self.core);
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.args.objects {
                return;
            }
            let start = Instant::now();
            match self.fetch(&client, index, counters).await {
                Ok(()) => {
                    recorder.borrow_mut().record(start, Instant::now());
                    add(&counters.requests, 1);
                }
                Err(why) => {
                    add(&counters.errors, 1);
                    // Counted here: the check afterwards shall not find it, and count it again.
                    let _ =
                        corering::fs::remove_file(self.downloads.join(object_name(index))).await;
                    eprintln!("corering: {}: {why}", object_name(index));
                }
            }
        }
    }

    async fn fetch(&self, client: &Client, index: u32, counters: &Counters) -> Result<(), String> {
        let name = object_name(index);
        let url = format!("http://{}/{name}", self.server);
        let url = url.parse().map_err(|error| format!("{error}"))?;
        let answer = client.get(&url).await.map_err(|error| error.to_string())?;
        if answer.status() != hyper::StatusCode::OK {
            return Err(format!("the server answered {}", answer.status()));
        }
        let file = File::create(self.downloads.join(&name)).await;
        let file = file.map_err(|error| format!("cannot open the file: {error}"))?;
        let received = pour(answer, file, counters).await?;
        if received == self.args.size {
            Ok(())
        } else {
            Err(format!("{received} bytes instead of {}", self.args.size))
        }
    }
}

impl Count for Counters {
    fn add(&self, bytes: u64) {
        add(&self.bytes, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_falls_to_one_core() {
        for (jobs, cores) in [(20, 1), (20, 3), (4, 4), (7, 2)] {
            let shares = (0..cores).map(|core| share(jobs, cores, core));
            assert_eq!(shares.sum::<usize>(), jobs);
        }
        assert_eq!(share(1, 3, 2), 1);
    }
}
