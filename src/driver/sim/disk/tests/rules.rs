//! What the model test cannot compare: space, alignment, sparse files, the end of a process.

use super::{content, disk, open, write_new};
use crate::driver::sim::disk::meta::Stat;
use crate::driver::sim::disk::{Disk, Ino, OpenFile};
use std::collections::BTreeSet;

const BLOCK: u64 = 4096;

fn stat(disk: &Disk, path: &str) -> Stat {
    disk.stat_at(None, path.as_bytes(), true)
        .unwrap_or_else(|errno| panic!("{path}: {errno}"))
}

#[test]
fn a_full_disk_takes_what_fits_and_then_says_so() {
    let mut disk = Disk::new(4 * BLOCK);
    let mut file = write_new(&mut disk, "/file", &[1; 5000]);
    assert_eq!(disk.free_bytes(), 2 * BLOCK);
    assert_eq!(disk.write(&mut file, None, &[2; 20_000], 0), Ok(11_384));
    assert_eq!(disk.write(&mut file, None, &[2; 10], 0), Err(libc::ENOSPC));
    assert_eq!(
        disk.write(&mut file, Some(100), &[3; 10], 0),
        Ok(10),
        "no new block"
    );
    assert_eq!(disk.allocate(&file, 0, 0, 5 * BLOCK, 0), Err(libc::ENOSPC));
    assert_eq!(disk.allocate(&file, 0, 0, 4 * BLOCK, 0), Ok(()));
    assert_eq!(stat(&disk, "/file").sectors, 4 * 8);
    write_new(&mut disk, "/empty", b"");

    let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    assert_eq!(disk.allocate(&file, punch, 1, 3 * BLOCK, 0), Ok(()));
    assert_eq!(
        disk.free_bytes(),
        2 * BLOCK,
        "the blocks that are holes as a whole"
    );
    assert_eq!(disk.set_len(&file, 1, 0), Ok(()));
    assert_eq!(disk.free_bytes(), 3 * BLOCK);
    assert_eq!(
        disk.allocate(&file, libc::FALLOC_FL_KEEP_SIZE, 0, 2 * BLOCK, 0),
        Ok(())
    );
    assert_eq!(
        (disk.free_bytes(), stat(&disk, "/file").len),
        (2 * BLOCK, 1)
    );

    assert_eq!(disk.remove(None, b"/file", false, 0), Ok(()));
    assert_eq!(disk.free_bytes(), 2 * BLOCK, "it is still open");
    disk.close(file);
    assert_eq!(disk.free_bytes(), 4 * BLOCK);
}

#[test]
fn a_huge_file_takes_what_was_written() {
    const FAR: u64 = 1 << 43;
    let mut disk = disk();
    let mut file = write_new(&mut disk, "/file", b"start");
    assert_eq!(disk.write(&mut file, Some(FAR), b"end", 0), Ok(3));
    assert_eq!(disk.free_bytes(), (1 << 20) - 2 * BLOCK);
    assert_eq!(stat(&disk, "/file").len, FAR + 3);
    assert_eq!(
        disk.read(&mut file, Some(FAR - 2), 100),
        Ok(b"\0\0end".to_vec())
    );
    assert_eq!(disk.read(&mut file, Some(FAR + 3), 100), Ok(Vec::new()));
    assert_eq!(disk.seek(&mut file, 1, libc::SEEK_HOLE), Ok(BLOCK));
    assert_eq!(disk.seek(&mut file, 5000, libc::SEEK_DATA), Ok(FAR));
    assert_eq!(
        disk.seek(&mut file, FAR as i64, libc::SEEK_HOLE),
        Ok(FAR + 3)
    );
    assert_eq!(
        disk.seek(&mut file, FAR as i64 + 3, libc::SEEK_DATA),
        Err(libc::ENXIO)
    );

    let end = (1 << 44) - BLOCK;
    assert_eq!(
        disk.write(&mut file, Some(end - 1), b"12", 0),
        Ok(1),
        "up to the largest file"
    );
    assert_eq!(disk.write(&mut file, Some(end), b"2", 0), Err(libc::EFBIG));
    assert_eq!(
        disk.write(&mut file, Some(i64::MAX as u64), b"2", 0),
        Err(libc::EINVAL)
    );
    assert_eq!(disk.set_len(&file, end + 1, 0), Err(libc::EFBIG));
    assert_eq!(disk.allocate(&file, 0, end, 1, 0), Err(libc::EFBIG));
    let mut appends = open(&mut disk, "/file", libc::O_WRONLY | libc::O_APPEND);
    assert_eq!(disk.write(&mut appends, Some(0), b"2", 0), Err(libc::EFBIG));
}

#[test]
fn zeroed_ranges_read_as_zeros_and_keep_their_space() {
    let mut disk = disk();
    let mut file = write_new(&mut disk, "/file", &[1; 10_000]);
    assert_eq!(
        disk.allocate(&file, libc::FALLOC_FL_ZERO_RANGE, 5000, 20_000, 0),
        Ok(())
    );
    let stat = stat(&disk, "/file");
    assert_eq!((stat.len, stat.sectors), (25_000, 7 * 8));
    let bytes = disk
        .read(&mut file, Some(0), 30_000)
        .expect("it can be read");
    assert!(bytes[..5000].iter().all(|byte| *byte == 1));
    assert!(bytes[5000..].iter().all(|byte| *byte == 0));
    for mode in [libc::FALLOC_FL_COLLAPSE_RANGE, libc::FALLOC_FL_PUNCH_HOLE] {
        assert_eq!(
            disk.allocate(&file, mode, 0, BLOCK, 0),
            Err(libc::EOPNOTSUPP)
        );
    }
}

#[test]
fn direct_files_are_read_and_written_in_sectors() {
    let mut disk = disk();
    let direct = libc::O_CREAT | libc::O_RDWR | libc::O_DIRECT;
    let mut file = open(&mut disk, "/file", direct);
    assert_eq!(disk.write(&mut file, Some(0), &[1; 1024], 0), Ok(1024));
    assert_eq!(
        disk.write(&mut file, Some(1), &[1; 512], 0),
        Err(libc::EINVAL)
    );
    assert_eq!(
        disk.write(&mut file, Some(0), &[1; 511], 0),
        Err(libc::EINVAL)
    );
    assert_eq!(disk.read(&mut file, Some(0), 100), Err(libc::EINVAL));
    assert_eq!(disk.read(&mut file, Some(512), 1024), Ok(vec![1; 512]));
    assert_eq!(file.flags(), libc::O_RDWR | libc::O_DIRECT);
    let dir = disk.open(None, b"/", libc::O_DIRECT, 0, 0, 0);
    assert_eq!(dir.map(drop), Err(libc::EINVAL));
}

#[test]
fn symbolic_links_are_followed_forty_times() {
    let mut disk = disk();
    write_new(&mut disk, "/0", b"content");
    for number in 1..=41 {
        let (target, name) = (format!("{}", number - 1), format!("/{number}"));
        assert_eq!(
            disk.symlink(target.as_bytes(), None, name.as_bytes(), 0),
            Ok(())
        );
    }
    assert_eq!(stat(&disk, "/40").len, 7);
    assert_eq!(disk.stat_at(None, b"/41", true).map(drop), Err(libc::ELOOP));
}

#[test]
fn a_path_stays_below_where_it_must() {
    let mut disk = disk();
    disk.make_dir(None, b"/dir", 0o755, 0).expect("it is new");
    write_new(&mut disk, "/secret", b"secret");
    write_new(&mut disk, "/dir/secret", b"page");
    for (target, name) in [("/secret", "/dir/absolute"), ("../secret", "/dir/up")] {
        assert_eq!(
            disk.symlink(target.as_bytes(), None, name.as_bytes(), 0),
            Ok(())
        );
    }
    let dir = Some(stat(&disk, "/dir").ino);
    let paths = ["absolute", "up", "../secret", "/secret", "../dir/secret"];
    for path in paths {
        let mut len = |resolve| {
            let file = disk.open(dir, path.as_bytes(), libc::O_RDONLY, 0, resolve, 0)?;
            Ok(disk.stat(&file).len)
        };
        assert_eq!(len(libc::RESOLVE_BENEATH), Err(libc::EXDEV), "{path}");
        let in_root = if path == "../dir/secret" {
            Err(libc::ENOENT)
        } else {
            Ok(4)
        };
        assert_eq!(len(libc::RESOLVE_IN_ROOT), in_root, "{path}");
        assert_eq!(len(1 << 40), Err(libc::EINVAL));
        let links = if paths[..2].contains(&path) {
            Err(libc::ELOOP)
        } else {
            len(0)
        };
        assert_eq!(len(libc::RESOLVE_NO_SYMLINKS), links, "{path}");
    }
}

#[test]
fn a_temporary_file_has_no_name() {
    let mut disk = disk();
    let before = disk.snapshot();
    let mut file = open(&mut disk, "/tmp", libc::O_TMPFILE | libc::O_RDWR);
    assert_eq!(disk.write(&mut file, None, b"content", 0), Ok(7));
    assert_eq!(disk.snapshot(), before);
    assert_eq!(disk.stat(&file).links, 0);
    assert!(disk.path_of(&file).ends_with(b" (deleted)"));
    disk.close(file);
    assert_eq!((disk.free_bytes(), disk.inodes.len()), (1 << 20, 2));
    let read_only = disk.open(None, b"/tmp", libc::O_TMPFILE, 0, 0, 0);
    assert_eq!(read_only.map(drop), Err(libc::EINVAL));
}

#[test]
fn the_end_of_a_process_loses_nothing_but_what_it_held() {
    let mut disk = disk();
    let file = write_new(&mut disk, "/file", b"content");
    write_new(&mut disk, "/gone", &[1; 5000]);
    assert_eq!(disk.remove(None, b"/gone", false, 0), Ok(()));
    assert_eq!(disk.flock(&file, libc::LOCK_EX), Ok(()));
    assert_eq!(disk.free_bytes(), (1 << 20) - 3 * BLOCK);
    disk.process_death();
    assert_eq!(disk.free_bytes(), (1 << 20) - BLOCK);
    assert_eq!(content(&disk, "/file").as_deref(), Some(&b"content"[..]));
    let file = open(&mut disk, "/file", libc::O_RDONLY);
    assert_eq!(disk.flock(&file, libc::LOCK_EX), Ok(()));
}

#[test]
fn a_lock_belongs_to_its_open_file() {
    let mut disk = disk();
    let first = write_new(&mut disk, "/file", b"");
    let second = open(&mut disk, "/file", libc::O_RDONLY);
    assert_eq!(disk.flock(&first, libc::LOCK_SH), Ok(()));
    assert_eq!(disk.flock(&second, libc::LOCK_SH), Ok(()));
    assert_eq!(disk.flock(&second, libc::LOCK_EX), Err(libc::EWOULDBLOCK));
    assert_eq!(
        disk.flock(&first, libc::LOCK_EX),
        Ok(()),
        "the refused one lost its lock"
    );
    assert_eq!(disk.flock(&second, libc::LOCK_SH), Err(libc::EWOULDBLOCK));
    disk.close(first);
    assert_eq!(disk.flock(&second, libc::LOCK_EX), Ok(()));
}

fn names(mut entries: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    while !entries.is_empty() {
        let len = usize::from(u16::from_ne_bytes([entries[16], entries[17]]));
        let name = entries[19..len].split(|byte| *byte == 0).next();
        names.push(String::from_utf8_lossy(name.unwrap_or_default()).into_owned());
        entries = &entries[len..];
    }
    names
}

#[test]
fn a_listing_goes_on_where_it_was() {
    let mut disk = disk();
    disk.make_dir(None, b"/dir", 0o755, 0).expect("it is new");
    for number in 0..20 {
        write_new(&mut disk, &format!("/dir/{number}"), b"");
    }
    let mut dir = open(&mut disk, "/dir", libc::O_DIRECTORY);
    assert_eq!(disk.dents(&mut dir, 23), Err(libc::EINVAL));
    let list = |disk: &Disk, dir: &mut OpenFile| names(&disk.dents(dir, 100).expect("it fits"));
    assert_eq!(list(&disk, &mut dir), [".", "..", "0", "1"]);
    assert_eq!(disk.remove(None, b"/dir/1", false, 0), Ok(()));
    assert_eq!(disk.remove(None, b"/dir/2", false, 0), Ok(()));
    write_new(&mut disk, "/dir/new", b"");
    let mut rest = BTreeSet::new();
    loop {
        let names = list(&disk, &mut dir);
        if names.is_empty() {
            break;
        }
        for name in names {
            assert!(rest.insert(name), "no name comes twice");
        }
    }
    assert_eq!(rest.len(), 18);
    assert!(rest.contains("3") && rest.contains("new"));
    assert_eq!(disk.seek(&mut dir, 0, libc::SEEK_SET), Ok(0));
    assert_eq!(list(&disk, &mut dir)[0], ".");
}

#[test]
fn metadata_is_what_was_set() {
    const NOW: u64 = 1_700_000_000_000_000_123;
    let mut disk = disk();
    let mut file = disk
        .open(None, b"/file", libc::O_CREAT | libc::O_WRONLY, 0o666, 0, 7)
        .expect("it is new");
    assert_eq!(disk.write(&mut file, None, &[1; 5000], NOW), Ok(5000));
    assert_eq!(
        disk.set_times(&file, [Some((-5, 6)), None], NOW + 1),
        Ok(())
    );
    let stat = disk.stat(&file);
    assert_eq!(stat.mode, libc::S_IFREG | 0o644);
    assert_eq!((stat.made, stat.accessed), ((0, 7), (-5, 6)));
    assert_eq!(stat.modified, (1_700_000_000, 123));
    assert_eq!(stat.changed, (1_700_000_000, 124));
    // SAFETY: an all-zero statx is a valid value.
    let mut answer: libc::statx = unsafe { std::mem::zeroed() };
    stat.fill(&mut answer);
    assert_eq!((answer.stx_size, answer.stx_blocks), (5000, 16));
    assert_eq!((answer.stx_atime.tv_sec, answer.stx_atime.tv_nsec), (-5, 6));
    assert_eq!(Ino(answer.stx_ino), file.ino());
    assert_eq!(disk.set_mode_at(None, b"/file", 0o100_4755, NOW), Ok(()));
    assert_eq!(disk.stat(&file).mode, libc::S_IFREG | 0o4755);
}

#[test]
fn the_root_stays() {
    let mut disk = disk();
    assert_eq!(disk.remove(None, b"/", true, 0), Err(libc::EBUSY));
    assert_eq!(disk.remove(None, b"/", false, 0), Err(libc::EISDIR));
    let rename = disk.rename((None, b"/"), (None, b"/tmp/root"), 0);
    assert_eq!(rename, Err(libc::EBUSY));
    assert_eq!(stat(&disk, "/..").ino, stat(&disk, "/").ino);
    assert_eq!(stat(&disk, "/").links, 3);
}

#[test]
fn a_removed_directory_takes_nothing_more() {
    let mut disk = disk();
    disk.make_dir(None, b"/a", 0o755, 0).expect("it is new");
    disk.make_dir(None, b"/a/b", 0o755, 0).expect("it is new");
    let mut dir = open(&mut disk, "/a/b", libc::O_DIRECTORY);
    disk.sync_all();
    assert_eq!(disk.remove(None, b"/a/b", true, 0), Ok(()));
    assert_eq!(disk.remove(None, b"/a", true, 0), Ok(()));
    disk.sync_all();
    let at = Some(dir.ino());
    assert_eq!(disk.make_dir(at, b"new", 0o755, 0), Err(libc::ENOENT));
    assert_eq!(disk.make_dir(at, b"../new", 0o755, 0), Err(libc::ENOENT));
    let made = disk.open(at, b"new", libc::O_CREAT | libc::O_RDWR, 0o644, 0, 0);
    assert_eq!(made.map(drop), Err(libc::ENOENT));
    assert_eq!(disk.dents(&mut dir, 1000), Err(libc::ENOENT));
    assert!(disk.path_of(&dir).ends_with(b"/b (deleted)"));
    disk.close(dir);
    assert_eq!(disk.inodes.len(), 2);
}
