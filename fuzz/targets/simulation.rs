//! Programs of operations on a simulated machine: the input is the seed, then the program. Whatever
//! it asks for, dropped in flight or not, the simulation's oracles must find nothing: no memory
//! that is freed while the kernel has it, nothing lost or doubled, nothing left behind.
#![no_main]

use corering::fs::File;
use corering::net::{TcpListener, TcpStream};
use corering::sim::{Control, Faults, GuardAlloc, Host, Sim};
use corering::time::{sleep, timeout};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: GuardAlloc = GuardAlloc::new();

const STEPS_MAX: usize = 200;
const PATIENCE: Duration = Duration::from_millis(200);

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((seed, program)) = input.split_first_chunk::<8>() else {
        return;
    };
    let seed = u64::from_le_bytes(*seed);
    let mut sim = Sim::with_faults(seed, Faults::swarm_with_errors(seed));
    let server = sim.host("server").boot(|_core| serve());
    let client = sim
        .host("client")
        .disk_bytes(1 << 20)
        .boot(|_core| async {});
    let control = sim.control();
    let program = program[..program.len().min(2 * STEPS_MAX)].to_vec();
    sim.block_on(&client, async move {
        let mut machine = Machine {
            control,
            server,
            stream: None,
            file: None,
            sent: 0,
            read: 0,
        };
        for step in program.chunks_exact(2) {
            machine.step(step[0], usize::from(step[1])).await;
        }
    });
    sim.finish();
});

/// Sends back what comes, until its host dies.
async fn serve() {
    let Ok(listener) = TcpListener::bind("0.0.0.0:7000").await else {
        return;
    };
    while let Ok((mut stream, _)) = listener.accept().await {
        drop(corering::spawn(async move {
            while let Ok(Some(chunk)) = stream.recv().await {
                if stream.send_all(chunk).await.0.is_err() {
                    return;
                }
            }
        }));
    }
}

/// What the program works on.
struct Machine {
    control: Control,
    server: Host,
    stream: Option<TcpStream>,
    file: Option<File>,
    /// Bytes of the connection that were written and read so far: each says where it stands.
    sent: usize,
    read: usize,
}

fn byte_at(at: usize) -> u8 {
    (at % 251) as u8
}

impl Machine {
    async fn step(&mut self, what: u8, much: usize) {
        match what % 12 {
            0 => self.connect().await,
            1 => {
                let address = ("server", 7000);
                poll_some(TcpStream::connect(address), much).await;
            }
            2 => self.write(1 + much * 64).await,
            3 => self.receive().await,
            4 => {
                if let Some(stream) = &mut self.stream {
                    poll_some(stream.fill_buf(), much).await;
                }
            }
            5 => self.stream = None,
            6 => sleep(Duration::from_micros(much as u64 * 50)).await,
            7 => self.file = File::create(format!("/{}", much % 4)).await.ok(),
            8 => {
                if let Some(file) = &self.file {
                    let _ = file.write_all_at(vec![7; much * 16], much as u64).await;
                }
            }
            9 => {
                if let Some(file) = &self.file {
                    poll_some(file.write_at(vec![7; much * 16], 0), much).await;
                    poll_some(file.read_at(vec![0; 64], 0), much).await;
                    poll_some(file.sync_all(), much).await;
                }
            }
            10 => poll_some(corering::fs::write_atomic("/atomic", vec![1; much]), much).await,
            _ => match much % 4 {
                0 => self.control.restart(&self.server),
                1 => self.control.power_loss(&self.server),
                _ => self.control.kill(&self.server),
            },
        }
    }

    async fn connect(&mut self) {
        (self.sent, self.read) = (0, 0);
        let connected = timeout(PATIENCE, TcpStream::connect(("server", 7000))).await;
        self.stream = connected.ok().and_then(Result::ok);
    }

    async fn write(&mut self, len: usize) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let bytes: Vec<u8> = (self.sent..self.sent + len).map(byte_at).collect();
        match timeout(PATIENCE, stream.write_all(&bytes)).await {
            Ok(Ok(())) => self.sent += len,
            // How much was taken is not known.
            _ => self.stream = None,
        }
    }

    async fn receive(&mut self) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        match timeout(PATIENCE, stream.recv()).await {
            Ok(Ok(Some(chunk))) => {
                for &byte in chunk.iter() {
                    assert_eq!(
                        byte,
                        byte_at(self.read),
                        "byte {} came back changed",
                        self.read
                    );
                    self.read += 1;
                }
                assert!(self.read <= self.sent, "more came back than was sent");
            }
            Ok(_) => self.stream = None,
            Err(_) => {}
        }
    }
}

/// Polls a few times, then drops.
async fn poll_some<F: Future>(future: F, polls: usize) {
    let mut future = pin!(future);
    for _ in 0..1 + polls % 4 {
        let done = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        if done {
            return;
        }
        corering::yield_now().await;
    }
}
