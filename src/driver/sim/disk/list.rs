//! Listing a directory, as `getdents64(2)` does.

use super::{Disk, Errno, Ino, Node, OpenFile, ROOT};

/// Where the name begins in a `struct linux_dirent64`: behind number, offset, length and kind.
const NAME_OFFSET: usize = 19;
/// The entries `.` and `..` have the numbers 1 and 2, which no other entry has.
const DOT: u64 = 1;
const DOT_DOT: u64 = ROOT.0;

impl Disk {
    /// The next entries, as many as fit into `room` bytes, each a `struct linux_dirent64`; nothing
    /// at the end.
    pub(crate) fn dents(&self, file: &mut OpenFile, room: usize) -> Result<Vec<u8>, Errno> {
        self.check_life(file);
        file.check_opened()?;
        let inode = self.inode(file.ino);
        let Node::Directory(directory) = &inode.node else {
            return Err(libc::ENOTDIR);
        };
        if inode.names == 0 {
            return Err(libc::ENOENT);
        }
        let dots = [
            (DOT, &b"."[..], file.ino),
            (DOT_DOT, &b".."[..], directory.parent),
        ];
        let after = file.position;
        let dots = dots.into_iter().filter(|(number, ..)| *number > after);
        let mut answer = Vec::new();
        for (number, name, ino) in dots.chain(directory.listed_after(after.max(DOT_DOT))) {
            let entry = self.dent(number, name, ino);
            if answer.len() + entry.len() > room {
                return match answer.is_empty() {
                    true => Err(libc::EINVAL),
                    false => Ok(answer),
                };
            }
            answer.extend(entry);
            file.position = number;
        }
        Ok(answer)
    }

    fn dent(&self, number: u64, name: &[u8], ino: Ino) -> Vec<u8> {
        let kind = match &self.inode(ino).node {
            Node::File(_) => libc::DT_REG,
            Node::Directory(_) => libc::DT_DIR,
            Node::Symlink(_) => libc::DT_LNK,
        };
        let len = (NAME_OFFSET + name.len() + 1).next_multiple_of(8);
        let mut entry = Vec::with_capacity(len);
        entry.extend(ino.0.to_ne_bytes());
        entry.extend(number.to_ne_bytes());
        entry.extend((len as u16).to_ne_bytes());
        entry.push(kind);
        entry.extend(name);
        entry.resize(len, 0);
        entry
    }
}
