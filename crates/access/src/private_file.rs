//! Files that only their owner may read and change.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;

/// The mode of a file: its owner reads and writes.
const MODE: u32 = 0o600;

/// The bits of a mode that let the group and others write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Opens a file that only its owner may read and write; creates it if it is missing.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Err(err) if err.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(MODE).open(path)?;
    // A command that root runs must not leave a file that the node can't read: the folder is the node's. Other
    // users may not give files away, and need not.
    let owner = folder_of(path).metadata()?;
    if owner.uid() != file.metadata()?.uid() {
        let _ = fchown(&file, Some(owner.uid()), Some(owner.gid()));
    }
    Ok(file)
}

/// Makes the names in the folder of `path` durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// Returns the folder of a file.
pub(crate) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Returns the mode of a file that the group or others may write.
pub(crate) fn mode_if_writable_by_others(metadata: &Metadata) -> Option<u32> {
    let mode = metadata.permissions().mode() & 0o777;
    (mode & WRITABLE_BY_OTHERS != 0).then_some(mode)
}
