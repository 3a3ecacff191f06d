//! Jobs: a contender does something, measures itself and says what came of it.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use peer::Figures;

use crate::child::{Process, Refusal};
use crate::contenders::Contender;
use crate::options::{Options, Workload};
use crate::serve::Context;
use crate::sys;

/// Where the folders of all jobs are, within that for files.
const JOBS_FOLDER: &str = "jobs";
const JOB_MAX: Duration = Duration::from_secs(120);

pub(crate) fn run(
    contender: &Contender,
    workload: Workload,
    case: &peer::Case,
    options: &Options,
    context: &Context,
    checks_bytes: bool,
) -> Result<Figures, Refusal> {
    let folder = JobFolder::new(options)?;
    let mut arguments = vec![
        workload.name().to_string(),
        case.name.to_string(),
        "--scale".to_string(),
        options.scale.to_string(),
    ];
    if workload != Workload::Tasks {
        let dir = folder.0.to_string_lossy().into_owned();
        arguments.extend(["--dir".to_string(), dir]);
    }
    if workload == Workload::Download {
        arguments.extend(["--origin".to_string(), context.url()]);
    }
    let cpus: &[usize] = match case.cores {
        1 => &[sys::PEER_CPU],
        _ => &[sys::PEER_CPU, sys::LOAD_CPU],
    };
    let process = Process::start(contender, &arguments, cpus, options)?;
    let line = process.answer(JOB_MAX)?;
    let figures: Figures = serde_json::from_str(&line)
        .map_err(|error| io::Error::other(format!("`{line}`: {error}")))?;
    if workload == Workload::Download {
        check_downloads(case, &folder.0, &figures, context, checks_bytes)?;
    }
    Ok(figures)
}

/// Every object is there with its size and, when asked, with its bytes.
fn check_downloads(
    case: &peer::Case,
    folder: &Path,
    figures: &Figures,
    context: &Context,
    checks_bytes: bool,
) -> io::Result<()> {
    let (_, bytes) = peer::download::objects(case);
    for number in 0..figures.operations {
        let file = folder.join(number.to_string());
        let len = fs::metadata(&file)
            .map_err(|error| io::Error::other(format!("object {number}: {error}")))?
            .len();
        if len != bytes as u64 {
            return Err(io::Error::other(format!("object {number} has {len} bytes")));
        }
        let original = context.root.join(case.name).join(number.to_string());
        if checks_bytes && !is_same(&file, &original)? {
            return Err(io::Error::other(format!("object {number} differs")));
        }
    }
    Ok(())
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (fs::File::open(one)?, fs::File::open(other)?);
    let (mut mine, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let len = one.read(&mut mine)?;
        if len == 0 {
            return Ok(other.read(&mut theirs)? == 0);
        }
        other.read_exact(&mut theirs[..len])?;
        if mine[..len] != theirs[..len] {
            return Ok(false);
        }
    }
}

/// A folder that is empty at first, and gone with this value.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn empty(path: &Path) -> io::Result<Self> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir_all(path)?;
        Ok(Self(path.canonicalize()?))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes the folder of all jobs, whose own are to lie far from each other on the disk: ext4 looks
/// past everything that was removed nearby in the last minutes before it makes a new file.
pub(crate) fn make_folder_of_jobs(options: &Options) -> io::Result<Folder> {
    let folder = Folder::empty(&options.work.join(JOBS_FOLDER))?;
    // Elsewhere than on ext4 there is no need.
    let mut chattr = Command::new("chattr");
    let _ = chattr
        .arg("+T")
        .arg(&folder.0)
        .stderr(Stdio::null())
        .status();
    Ok(folder)
}

/// A job's own folder. Its files are emptied when the job is over, and stay, so that the next jobs
/// need not look past them.
#[derive(Debug)]
struct JobFolder(PathBuf);

impl JobFolder {
    fn new(options: &Options) -> io::Result<Self> {
        static JOBS: AtomicUsize = AtomicUsize::new(0);
        let number = JOBS.fetch_add(1, Ordering::Relaxed);
        // A new name each time, since ext4 chooses the place by it.
        let name = format!("{}-{number}", std::process::id());
        let path = options.work.join(JOBS_FOLDER).join(name);
        fs::create_dir(&path)?;
        Ok(Self(path.canonicalize()?))
    }

    fn empty_files(&self) -> io::Result<()> {
        for file in fs::read_dir(&self.0)? {
            fs::File::create(file?.path())?;
        }
        Ok(())
    }
}

impl Drop for JobFolder {
    fn drop(&mut self) {
        if let Err(error) = self.empty_files() {
            eprintln!("compare: {}: {error}", self.0.display());
        }
    }
}
