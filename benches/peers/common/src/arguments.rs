//! The command line of a contender.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::{Case, Stop, Work, case, download, files, tasks};

/// What the command line looks like.
pub(crate) const USAGE: &str = "\
usage:
  PROGRAM [--variant V] echo [--port 0] [--cores 1] [--work 0]
  PROGRAM [--variant V] serve-files DIR [--port 0]
  PROGRAM [--variant V] files CASE --dir DIR [--scale 1.0]
  PROGRAM [--variant V] tasks CASE [--scale 1.0]
  PROGRAM [--variant V] download CASE --origin URL --dir DIR [--scale 1.0]";

/// An echo server to be.
#[derive(Clone, Debug)]
pub struct Echo {
    /// Which variant of the contender; empty for the only or ordinary one.
    pub variant: String,
    /// Where to listen; 0 leaves it to the kernel.
    pub port: u16,
    /// How many threads may serve.
    pub cores: usize,
    /// What is done for every message before it is answered.
    pub work: Work,
}

impl Echo {
    /// For contenders whose server is one thread that only echoes: `unsupported` when it should be
    /// or do more.
    pub fn single_core(&self) -> Result<(), Stop> {
        match self.cores {
            0 | 1 if self.work.is_none() => Ok(()),
            0 | 1 => Err(Stop::unsupported("its server here only echoes")),
            _ => Err(Stop::unsupported("its server here is one thread")),
        }
    }

    /// Whether it is this variant; a name that the contender does not know is `unsupported`.
    pub fn is_variant(&self, name: &str) -> Result<bool, Stop> {
        is_variant(&self.variant, name)
    }
}

/// A file server to be.
#[derive(Clone, Debug)]
pub struct ServeFiles {
    /// Which variant of the contender; empty for the only or ordinary one.
    pub variant: String,
    /// What to serve: `/a/b` is the file `a/b` below it.
    pub root: PathBuf,
    /// Where to listen; 0 leaves it to the kernel.
    pub port: u16,
}

/// Something to do and to measure.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which variant of the contender; empty for the only or ordinary one.
    pub variant: String,
    /// What to do.
    pub case: &'static Case,
    /// An empty folder for what is written. Empty for tasks.
    pub dir: PathBuf,
    /// Where to download from, `http://127.0.0.1:PORT`. Empty for everything else.
    pub origin: String,
    /// The part of the full amount: 1.0, or less to see that it works.
    pub scale: f64,
}

impl Job {
    /// Whether it is this variant; a name that the contender does not know is `unsupported`.
    pub fn is_variant(&self, name: &str) -> Result<bool, Stop> {
        is_variant(&self.variant, name)
    }

    /// The full amount of something, scaled, and at least one.
    #[must_use]
    pub fn scaled(&self, full: usize) -> usize {
        ((full as f64 * self.scale) as usize).max(1)
    }
}

fn is_variant(variant: &str, name: &str) -> Result<bool, Stop> {
    match variant {
        "" => Ok(false),
        variant if variant == name => Ok(true),
        other => Err(Stop::unsupported(format!("no variant `{other}`"))),
    }
}

/// A whole command line.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Echo(Echo),
    ServeFiles(ServeFiles),
    Files(Job),
    Tasks(Job),
    Download(Job),
}

impl Call {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Options::default();
        let mut plain = Vec::new();
        while let Some(word) = words.next() {
            match word.strip_prefix("--") {
                Some(name) => {
                    let value = words.next().ok_or_else(|| format!("`{word}`: no value"))?;
                    options.0.insert(name.to_string(), value);
                }
                None => plain.push(word),
            }
        }
        let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
        let call = match plain[..] {
            ["echo"] => Self::Echo(Echo {
                variant: options.text("variant"),
                port: options.number("port", 0)?,
                cores: options.number("cores", 1)?,
                work: options.number("work", Work::default())?,
            }),
            ["serve-files", root] => Self::ServeFiles(ServeFiles {
                variant: options.text("variant"),
                root: PathBuf::from(root),
                port: options.number("port", 0)?,
            }),
            ["files", name] => Self::Files(options.job(files::CASES, name)?),
            ["tasks", name] => Self::Tasks(options.job(tasks::CASES, name)?),
            ["download", name] => Self::Download(options.job(download::CASES, name)?),
            _ => return Err(format!("not understood: {plain:?}")),
        };
        options.used_up()?;
        Ok(call)
    }
}

/// The options that nobody has asked for yet.
#[derive(Default)]
struct Options(HashMap<String, String>);

impl Options {
    fn text(&mut self, name: &str) -> String {
        self.0.remove(name).unwrap_or_default()
    }

    fn number<N: std::str::FromStr>(&mut self, name: &str, default: N) -> Result<N, String> {
        match self.0.remove(name) {
            Some(text) => text
                .parse()
                .map_err(|_| format!("`--{name} {text}`: not a number that fits")),
            None => Ok(default),
        }
    }

    fn job(&mut self, cases: &'static [Case], name: &str) -> Result<Job, String> {
        let case = case::find(cases, name).ok_or_else(|| {
            let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
            format!("`{name}`: no such case; there are {}", names.join(", "))
        })?;
        Ok(Job {
            variant: self.text("variant"),
            case,
            dir: PathBuf::from(self.text("dir")),
            origin: self.text("origin"),
            scale: self.number("scale", 1.0)?,
        })
    }

    fn used_up(&self) -> Result<(), String> {
        match self.0.keys().next() {
            Some(name) => Err(format!("`--{name}`: no such option here")),
            None => Ok(()),
        }
    }
}
