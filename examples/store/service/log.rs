//! What stands on the disk: a snapshot, and the log of what has changed since.
//!
//! A directory has one snapshot, `snapshot`, which says its generation, and the log of that
//! generation, `log.<generation>`. Rules:
//! 1. A change counts once its record is in the log and synced; the log's own name was synced
//!    before.
//! 2. A new snapshot makes the log that it covers worthless at the moment of its rename. So the
//!    old log is never written again, whether or not the rename is known to have happened.
//! 3. A start always begins a new generation: what was read may be in the page cache alone, after
//!    a sync that failed or a process that was killed, so it is written anew before it is served.
//!    The torn tail of a log is cut off by this, too.
//!
//! ```text
//!   record:    checksum u32 │ length u32 │ generation u64 │ number u64 │ 0, or 1 and a value
//!              of all behind │ of the rest │                │            │ with the key before it
//!   snapshot:  checksum u32 of all behind │ generation u64 │ records
//! ```

use corering::fs::{self, File};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Keys and values, in order.
pub(super) type Table = BTreeMap<String, String>;

/// One change: a new value, or none any more.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) key: String,
    pub(super) value: Option<String>,
}

impl Change {
    pub(super) fn apply(self, table: &mut Table) {
        match self.value {
            Some(value) => drop(table.insert(self.key, value)),
            None => drop(table.remove(&self.key)),
        }
    }
}

/// The open directory of a store.
pub(super) struct Log {
    dir: PathBuf,
    /// Held as long as the store is open: two processes would overwrite each other's records.
    _lock: File,
    generation: u64,
    file: File,
    /// Bytes that are synced: where the next record goes.
    len: u64,
    /// Of the next record.
    number: u64,
}

impl Log {
    /// Opens a directory, which is made if it is missing (those above it are not).
    pub(super) async fn open(dir: &Path) -> io::Result<(Log, Table)> {
        match fs::create_dir(dir).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => sync_dir(dir.parent().unwrap_or(Path::new("/"))).await?,
        }
        let lock = File::create(dir.join("lock")).await?;
        lock.try_lock()?;
        let (generation, mut table) = match read(&dir.join("snapshot")).await? {
            Some(bytes) => decode_snapshot(&bytes).ok_or_else(damaged)?,
            None => (0, Table::new()),
        };
        let log = read(&log_path(dir, generation)).await?.unwrap_or_default();
        for change in decode_log(&log, generation) {
            change.apply(&mut table);
        }
        let generation = generation + 1;
        fs::write_atomic(dir.join("snapshot"), encode_snapshot(generation, &table)).await?;
        let file = make_log(dir, generation).await?;
        let log = Log {
            dir: dir.to_owned(),
            _lock: lock,
            generation,
            file,
            len: 0,
            number: 0,
        };
        log.tidy_up().await?;
        Ok((log, table))
    }

    /// Bytes of the log.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Makes changes durable, all with one sync. After an error some may be durable and some not:
    /// the log must be [cut off](Log::cut_off), or [replaced](Log::replace) if that fails too.
    pub(super) async fn append(&mut self, changes: &[Change]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (number, change) in (self.number..).zip(changes) {
            encode(&mut bytes, self.generation, number, change);
        }
        let len = bytes.len() as u64;
        self.file.write_all_at(bytes, self.len).await.0?;
        self.file.sync_data().await?;
        self.len += len;
        self.number += changes.len() as u64;
        Ok(())
    }

    /// Makes sure that nothing of an append that has failed is in the log. After a sync that has
    /// failed this fails as well: the file is never trusted again.
    pub(super) async fn cut_off(&self) -> io::Result<()> {
        self.file.set_len(self.len).await?;
        self.file.sync_data().await
    }

    /// The snapshot for [`replace`](Log::replace).
    pub(super) fn next_snapshot(&self, table: &Table) -> Vec<u8> {
        encode_snapshot(self.generation + 1, table)
    }

    /// Begins the next generation with this snapshot. After an error nobody knows which generation
    /// is on the disk: this log must not be used any more.
    pub(super) async fn replace(&mut self, snapshot: Vec<u8>) -> io::Result<()> {
        fs::write_atomic(self.dir.join("snapshot"), snapshot).await?;
        let old = log_path(&self.dir, self.generation);
        self.generation += 1;
        self.file = make_log(&self.dir, self.generation).await?;
        (self.len, self.number) = (0, 0);
        // What cannot be removed now is removed at the next start.
        let _ = fs::remove_file(old).await;
        Ok(())
    }

    /// Removes old logs, and temporary files of a `write_atomic` whose process was killed.
    async fn tidy_up(&self) -> io::Result<()> {
        let current = log_path(&self.dir, self.generation);
        let mut entries = fs::read_dir(&self.dir).await?;
        while let Some(entry) = entries.next_entry().await? {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let is_old = name.starts_with("log.") || name.ends_with(".tmp");
            if is_old && path != current {
                fs::remove_file(path).await?;
            }
        }
        Ok(())
    }
}

fn log_path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("log.{generation}"))
}

/// An empty log, whose name is durable: without that, a crash takes the file with all its records,
/// synced or not.
async fn make_log(dir: &Path, generation: u64) -> io::Result<File> {
    let file = File::create(log_path(dir, generation)).await?;
    // `--cfg store_bug` leaves it out, to see that the simulation finds it: scripts/mutants.
    if !cfg!(store_bug) {
        sync_dir(dir).await?;
    }
    Ok(file)
}

async fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir).await?.sync_all().await
}

/// A whole file, if there is one.
async fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn damaged() -> io::Error {
    let what = "the snapshot is damaged: no crash does that, so look at the disk";
    io::Error::new(ErrorKind::InvalidData, what)
}

fn encode(to: &mut Vec<u8>, generation: u64, number: u64, change: &Change) {
    let mut body = Vec::new();
    body.extend(generation.to_le_bytes());
    body.extend(number.to_le_bytes());
    body.extend((change.key.len() as u32).to_le_bytes());
    body.extend(change.key.bytes());
    body.push(u8::from(change.value.is_some()));
    body.extend(change.value.iter().flat_map(|value| value.bytes()));
    let len = (body.len() as u32).to_le_bytes();
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&len);
    checksum.update(&body);
    to.extend(checksum.finalize().to_le_bytes());
    to.extend(len);
    to.extend(body);
}

/// Takes the first record off; `None` where there is none, or not this one.
fn decode(from: &mut &[u8], generation: u64, number: u64) -> Option<Change> {
    let (checksum, rest) = from.split_first_chunk::<4>()?;
    let len = u32::from_le_bytes(*rest.first_chunk()?) as usize;
    let record = rest.get(..len.checked_add(4)?)?;
    if crc32fast::hash(record) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (stamp, body) = record[4..].split_first_chunk::<16>()?;
    if *stamp.first_chunk()? != generation.to_le_bytes() || stamp[8..] != number.to_le_bytes() {
        return None;
    }
    let (key_len, body) = body.split_first_chunk()?;
    let (key, value) = body.split_at_checked(u32::from_le_bytes(*key_len) as usize)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let change = Change {
        key: text(key)?,
        value: match value.split_first()? {
            (0, []) => None,
            (1, value) => Some(text(value)?),
            _ => return None,
        },
    };
    *from = &rest[record.len()..];
    Some(change)
}

/// The records of a log up to the first that is not whole: it and those behind it were never
/// acknowledged.
fn decode_log(mut bytes: &[u8], generation: u64) -> Vec<Change> {
    let mut changes = Vec::new();
    while let Some(change) = decode(&mut bytes, generation, changes.len() as u64) {
        changes.push(change);
    }
    changes
}

fn encode_snapshot(generation: u64, table: &Table) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(generation.to_le_bytes());
    for (number, (key, value)) in (0..).zip(table) {
        let change = Change {
            key: key.clone(),
            value: Some(value.clone()),
        };
        encode(&mut bytes, generation, number, &change);
    }
    let checksum = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode_snapshot(bytes: &[u8]) -> Option<(u64, Table)> {
    let (checksum, rest) = bytes.split_first_chunk::<4>()?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (generation, records) = rest.split_first_chunk::<8>()?;
    let generation = u64::from_le_bytes(*generation);
    let mut table = Table::new();
    for change in decode_log(records, generation) {
        change.apply(&mut table);
    }
    Some((generation, table))
}
