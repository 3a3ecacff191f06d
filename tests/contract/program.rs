//! L01: random programs for both ends of a connection, against what TCP promises.
//!
//! A program that fails is made smaller: steps are left out as long as it still fails.

use crate::harness::{Rng, check_coded, coded_bytes};
use crate::world::World;
use corering::net::TcpStream;
use corering::spawn;
use corering::time::{sleep, timeout};
use std::io::ErrorKind;
use std::net::Shutdown;
use std::time::Duration;

both!(l01_programs);

/// Bytes that one end may send: fewer than all buffers hold.
const SENT_MAX: u64 = 60_000;

/// What one end does next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Write(usize),
    SendOwned(usize),
    SendZeroCopy(usize),
    /// A send that is given up after so many microseconds.
    SendInTime(usize, u64),
    /// A read of this kind, given up after so many microseconds.
    Read(u64, u64),
    Nap(u64),
    ShutDown,
    Drop,
    /// Reads in a task of its own, which is aborted after so many microseconds.
    AbortReader(u64),
}

/// The steps of both ends.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) ends: [Vec<Step>; 2],
}

impl Program {
    pub(crate) fn random(rng: &mut Rng) -> Program {
        let ends = [(); 2].map(|()| {
            let count = rng.below(10);
            (0..count).map(|_| step(&mut *rng)).collect()
        });
        Program { ends }
    }

    /// Every program that lacks one step of this one.
    #[cfg(feature = "sim")]
    fn smaller(&self) -> impl Iterator<Item = Program> {
        let places = (0..2).flat_map(|end| (0..self.ends[end].len()).map(move |at| (end, at)));
        places.map(|(end, at)| {
            let mut less = self.clone();
            less.ends[end].remove(at);
            less
        })
    }
}

fn step(rng: &mut Rng) -> Step {
    let len = 1 + (rng.next() >> (48 + rng.below(12))) as usize;
    let micros = rng.below(2_000);
    match rng.below(16) {
        0..3 => Step::Write(len),
        3..5 => Step::SendOwned(len),
        5 => Step::SendZeroCopy(len),
        6 => Step::SendInTime(len, micros),
        7..11 => Step::Read(rng.below(4), micros),
        11..13 => Step::Nap(micros),
        13 => Step::ShutDown,
        14 => Step::Drop,
        _ => Step::AbortReader(micros),
    }
}

/// One end as the model sees it.
struct End {
    /// Whose bytes it sends.
    number: u64,
    stream: Option<TcpStream>,
    /// Bytes that it has sent for sure, and at most.
    sent: [u64; 2],
    received: u64,
    at_end: bool,
    shut_down: bool,
    /// It has seen the connection break.
    broken: bool,
}

/// What one end has come to.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    sent: [u64; 2],
    received: u64,
    at_end: bool,
    broken: bool,
    dropped: bool,
}

impl End {
    fn new(number: u64, stream: TcpStream) -> End {
        End {
            number,
            stream: Some(stream),
            sent: [0; 2],
            received: 0,
            at_end: false,
            shut_down: false,
            broken: false,
        }
    }

    async fn run(mut self, steps: Vec<Step>) -> Outcome {
        for step in steps {
            self.step(step).await;
        }
        let dropped = self.stream.is_none();
        if !dropped {
            self.step(Step::ShutDown).await;
            while !self.at_end && !self.broken {
                self.step(Step::Read(0, 60_000_000)).await;
            }
        }
        Outcome {
            sent: self.sent,
            received: self.received,
            at_end: self.at_end,
            broken: self.broken,
            dropped,
        }
    }

    async fn step(&mut self, step: Step) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        match step {
            Step::Nap(micros) => sleep(Duration::from_micros(micros)).await,
            Step::Drop => drop(self.stream.take()),
            Step::ShutDown => {
                let result = stream.shutdown(Shutdown::Write).await;
                self.shut_down = true;
                self.check_error(result.err());
            }
            Step::Read(how, micros) => self.read(how, micros).await,
            Step::AbortReader(micros) => {
                let mut stream = self.stream.take().expect("seen above");
                let task = spawn(async move { while let Ok(Some(_)) = stream.recv().await {} });
                sleep(Duration::from_micros(micros)).await;
                task.abort();
                let _ = task.await;
            }
            Step::Write(len)
            | Step::SendOwned(len)
            | Step::SendZeroCopy(len)
            | Step::SendInTime(len, _) => self.send(step, len).await,
        }
    }

    async fn send(&mut self, step: Step, len: usize) {
        // What comes after an uncertain send has no place of its own; and two ends that send more
        // than the buffers hold, and do not read, wait for each other.
        if self.sent[0] != self.sent[1] || self.sent[1] + len as u64 > SENT_MAX {
            return;
        }
        let stream = self.stream.as_mut().expect("the caller's");
        let bytes = coded_bytes(self.number, self.sent[0], len);
        let result = match step {
            Step::Write(_) => stream.write_all(&bytes).await.map(|()| len),
            Step::SendZeroCopy(_) => match stream.send_zc(bytes).await {
                (Err(error), _) if error.kind() == ErrorKind::Unsupported => Ok(0),
                (result, _) => result,
            },
            Step::SendInTime(_, micros) => {
                let limit = Duration::from_micros(micros);
                match timeout(limit, stream.send_all(bytes)).await {
                    Ok((result, _)) => result.map(|()| len),
                    Err(_) => {
                        stream.clear_torn();
                        self.sent[1] += len as u64;
                        return;
                    }
                }
            }
            _ => stream.send_all(bytes).await.0.map(|()| len),
        };
        match result {
            Ok(n) => self.sent = self.sent.map(|sent| sent + n as u64),
            Err(error) => {
                self.sent[1] += len as u64;
                self.check_error(Some(error));
            }
        }
    }

    async fn read(&mut self, how: u64, micros: u64) {
        let stream = self.stream.as_mut().expect("the caller's");
        let limit = Duration::from_micros(micros);
        let result = match how {
            0 | 1 => timeout(limit, stream.recv()).await.map(|chunk| {
                chunk.map(|chunk| chunk.map_or_else(Vec::new, |chunk| chunk.to_vec()))
            }),
            2 => {
                let read = timeout(limit, stream.read_owned(Vec::with_capacity(700))).await;
                read.map(|(result, bytes)| result.map(|_| bytes))
            }
            _ => {
                let mut room = [0; 900];
                let read = timeout(limit, stream.read(&mut room)).await;
                read.map(|result| result.map(|n| room[..n].to_vec()))
            }
        };
        match result {
            Err(_) => {}
            Ok(Ok(bytes)) => {
                // The other end's bytes, each once, in their order.
                check_coded(1 - self.number, self.received, &bytes);
                self.received += bytes.len() as u64;
                self.at_end |= bytes.is_empty();
            }
            Ok(Err(error)) => self.check_error(Some(error)),
        }
    }

    fn check_error(&mut self, error: Option<std::io::Error>) {
        let Some(error) = error else {
            return;
        };
        let after_shutdown = self.shut_down && error.kind() == ErrorKind::BrokenPipe;
        let known = [
            ErrorKind::ConnectionReset,
            ErrorKind::BrokenPipe,
            ErrorKind::NotConnected,
            ErrorKind::ConnectionAborted,
        ];
        assert!(known.contains(&error.kind()), "{error:?}");
        self.broken |= !after_shutdown;
    }
}

/// Runs a program; what it has done against the model.
pub(crate) async fn run(program: Program) -> Result<(), String> {
    let (a, b) = crate::world::pair().await;
    let [first, second] = program.ends;
    let tasks = [
        spawn(End::new(0, a).run(first)),
        spawn(End::new(1, b).run(second)),
    ];
    let mut outcomes = Vec::new();
    for task in tasks {
        let outcome = timeout(Duration::from_secs(600), task).await;
        let outcome = outcome.map_err(|_| "an end hangs".to_string())?;
        outcomes.push(outcome.map_err(|error| format!("an end panics: {error}"))?);
    }
    check([outcomes[0], outcomes[1]])
}

fn check(ends: [Outcome; 2]) -> Result<(), String> {
    for (this, peer) in [(ends[0], ends[1]), (ends[1], ends[0])] {
        let wrong = |what: &str| Err(format!("{what}: {this:?}, its peer {peer:?}"));
        if this.received > peer.sent[1] {
            return wrong("more was received than sent");
        }
        if this.broken && !peer.dropped && !this.dropped {
            return wrong("it broke, and nobody had left");
        }
        // An end without a reset is behind everything that was sent.
        if this.at_end && !this.broken && !peer.dropped && this.received < peer.sent[0] {
            return wrong("the end came before the bytes");
        }
        if !this.dropped && !this.at_end && !this.broken {
            return wrong("it never saw an end");
        }
    }
    Ok(())
}

async fn l01_programs(world: World) {
    let mut rng = world.rng();
    for _ in 0..world.rounds(150, 3) {
        let program = Program::random(&mut rng);
        let text = format!("{program:?}");
        if let Err(what) = run(program).await {
            panic!("{what}\n{text}");
        }
    }
}

/// The smallest program that still fails.
#[cfg(feature = "sim")]
fn shrink(mut program: Program, fails: impl Fn(&Program) -> bool) -> Program {
    loop {
        let smaller = program.smaller().find(|less| fails(less));
        match smaller {
            Some(less) => program = less,
            None => return program,
        }
    }
}

#[cfg(feature = "sim")]
fn fails(seed: u64, program: &Program) -> Option<String> {
    use corering::sim::{Faults, Sim};
    let program = program.clone();
    let run = move || {
        let mut sim = Sim::with_faults(seed, Faults::swarm(seed));
        let host = sim.host("here").boot(|_core| async {});
        let result = sim.block_on(&host, run(program));
        sim.finish();
        result
    };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(result) => result.err(),
        Err(panic) => Some(crate::harness::panic_text(&*panic)),
    }
}

/// One program for each seed, made as small as can be where it fails.
#[cfg(feature = "sim")]
#[test]
fn l01_small_programs() {
    corering::sim::seeds(0..200, |sim| {
        let seed = sim.seed();
        let program = Program::random(&mut Rng::from_seed(seed));
        if fails(seed, &program).is_some() {
            let small = shrink(program, |program| fails(seed, program).is_some());
            let what = fails(seed, &small).expect("it fails again");
            panic!("seed {seed}: {small:#?}\n{what}");
        }
    });
}

#[cfg(feature = "sim")]
#[test]
fn shrinking_leaves_what_matters() {
    let program = Program {
        ends: [
            vec![Step::Nap(1), Step::Drop, Step::Nap(2)],
            vec![Step::Write(5), Step::ShutDown],
        ],
    };
    let has = |program: &Program, what: fn(&Step) -> bool| program.ends.iter().flatten().any(what);
    let small = shrink(program, |program| {
        has(program, |step| matches!(step, Step::Drop))
            && has(program, |step| matches!(step, Step::ShutDown))
    });
    assert_eq!(format!("{:?}", small.ends), "[[Drop], [ShutDown]]");
}
