//! What to start, and how.

use super::child::Child;
use crate::driver::children;
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command as StdCommand, ExitStatus, Output, Stdio};

/// A program to start, with its arguments, its environment and its streams: the standard library's
/// builder, whose documentation holds here too.
///
/// Streams are inherited unless told otherwise. The child starts without any signal blocked, and
/// with no descriptor of the runtime's.
///
/// ```
/// use corering::process::Command;
///
/// # fn main() -> std::io::Result<()> {
/// corering::block_on(async {
///     let output = Command::new("echo").arg("hello").output().await?;
///     assert!(output.status.success());
///     assert_eq!(output.stdout, b"hello\n");
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is started before `spawn`, `status` or `output`"]
pub struct Command {
    std: StdCommand,
    stdin_is_set: bool,
    kill_on_drop: bool,
}

impl From<StdCommand> for Command {
    /// Takes over a command of the standard library, with all that was set on it.
    fn from(std: StdCommand) -> Command {
        Command {
            std,
            // It may have been, and does not say.
            stdin_is_set: true,
            kill_on_drop: false,
        }
    }
}

impl Command {
    /// The program of this name or path; a name is looked for in `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command {
            stdin_is_set: false,
            ..StdCommand::new(program).into()
        }
    }

    /// A line for the shell (`/bin/sh -c`), as asyncio's `create_subprocess_shell`. The shell
    /// reads all of it: never put into it what a stranger has sent.
    pub fn shell(line: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(line);
        command
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.std.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<I, S>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.std.args(args);
        self
    }

    /// What the program is told to be called, in place of its path.
    pub fn arg0(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.std.arg0(arg);
        self
    }

    /// Sets a variable of the child's environment.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.std.env(key, value);
        self
    }

    /// Sets variables of the child's environment.
    pub fn envs<I, K, V>(&mut self, variables: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.std.envs(variables);
        self
    }

    /// Takes a variable out of the child's environment.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Command {
        self.std.env_remove(key);
        self
    }

    /// Empties the child's environment; what is set afterwards is all that it has.
    pub fn env_clear(&mut self) -> &mut Command {
        self.std.env_clear();
        self
    }

    /// Where the child starts.
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Command {
        self.std.current_dir(dir);
        self
    }

    /// The child's standard input: `Stdio::piped()`, `Stdio::null()`, or any descriptor.
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Command {
        self.stdin_is_set = true;
        self.std.stdin(stdin);
        self
    }

    /// The child's standard output.
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Command {
        self.std.stdout(stdout);
        self
    }

    /// The child's standard error output.
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Command {
        self.std.stderr(stderr);
        self
    }

    /// The user that the child runs as.
    pub fn uid(&mut self, id: u32) -> &mut Command {
        self.std.uid(id);
        self
    }

    /// The group that the child runs as.
    pub fn gid(&mut self, id: u32) -> &mut Command {
        self.std.gid(id);
        self
    }

    /// The process group of the child; 0 makes one of its own, which Ctrl-C does not reach.
    pub fn process_group(&mut self, group: i32) -> &mut Command {
        self.std.process_group(group);
        self
    }

    /// Whether the child is killed when its [`Child`] is dropped before its end; it is not, unless
    /// asked for.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// The standard library's command.
    pub fn as_std(&self) -> &StdCommand {
        &self.std
    }

    /// The standard library's command, for what is not here, such as `pre_exec`.
    pub fn as_std_mut(&mut self) -> &mut StdCommand {
        &mut self.std
    }

    /// Starts the program.
    ///
    /// This one call blocks the loop: until the kernel has made the process and found the program,
    /// which takes from a fraction of a millisecond to a few, more where the program lies on a slow
    /// disk or `pre_exec` is used in a large process. From then on nothing blocks.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied` and what else `execve(2)` says; `EAGAIN` at the limit on
    /// processes; `EMFILE` if no descriptor is left; `Unsupported` in a simulation.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn(&mut self) -> io::Result<Child> {
        let driver = crate::driver::Driver::current();
        let spawned = children::spawn(&mut self.std)?;
        Ok(Child::new(spawned, self.kill_on_drop, &driver))
    }

    /// Starts the program, and waits for its end.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait`].
    ///
    /// # Cancel safety
    /// Dropping it drops the child, which runs on unless [`kill_on_drop`](Command::kill_on_drop).
    pub async fn status(&mut self) -> io::Result<ExitStatus> {
        let mut child = self.spawn()?;
        child.wait().await
    }

    /// Starts the program, and collects what it writes to its output and its error output, both
    /// whole in memory, until its end. Its input is empty, unless something else was set.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait_with_output`].
    ///
    /// # Cancel safety
    /// Dropping it drops the child, which runs on unless [`kill_on_drop`](Command::kill_on_drop);
    /// what was read is lost.
    pub async fn output(&mut self) -> io::Result<Output> {
        if !self.stdin_is_set {
            self.std.stdin(Stdio::null());
        }
        self.std.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.spawn()?.wait_with_output().await
    }
}
