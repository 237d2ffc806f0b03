//! Files and folders that are complete or absent: written beside their place, synced, and renamed into it.
//!
//! A reader, or a machine that lost power, sees what was there before or all of the new, never a part.

use crate::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes the file `path` with what `fill` writes, or leaves it as it was.
///
/// What stood there is replaced and its permissions are kept; a symbolic link is followed.
///
/// # Errors
/// `fill`'s own, or the system's: a missing or read-only folder, a full disk. The half-written file is removed, also
/// when `fill` panics.
pub fn atomic(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    let old = fs::metadata(path).ok();
    match &old {
        Some(old) if old.is_dir() => {
            return Err(Error::file(path, "can not write to it: it is a folder", "name a file in it"));
        }
        // A file renamed over /dev/null or a pipe would take its place.
        Some(old) if !old.is_file() => {
            return Err(Error::file(path, "can not write to it: it is a device or a pipe", "name a file"));
        }
        _ => {}
    }
    let target = followed(path);
    let system = |error: io::Error| write_error(path, &target, &error);
    let (beside, file) =
        Beside::make(&target, |path| OpenOptions::new().write(true).create_new(true).open(path)).map_err(system)?;
    let mut out = BufWriter::with_capacity(1 << 16, &file);
    fill(&mut out).and_then(|()| out.flush()).map_err(system)?;
    drop(out);
    if let Some(old) = old {
        file.set_permissions(old.permissions()).map_err(system)?;
    }
    file.sync_all().map_err(system)?;
    drop(file);
    fs::rename(&beside.0, &target).map_err(system)?;
    sync_folder(folder_of(&target)).map_err(system)
}

/// Makes the folder `path` with what `fill` puts into the folder that it is given, or leaves no folder.
///
/// # Errors
/// `fill`'s own, or the system's; a `path` that exists and is not an empty folder. The half-made folder is removed,
/// also when `fill` panics.
pub fn atomic_dir(path: &Path, fill: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let taken = match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => fs::symlink_metadata(path).is_ok(),
    };
    if taken {
        let help = "choose another name, or remove it";
        return Err(Error::file(path, "can not write to it: it exists and is not an empty folder", help));
    }
    let system = |error: io::Error| write_error(path, path, &error);
    let (beside, ()) = Beside::make(path, |path| fs::create_dir(path)).map_err(system)?;
    fill(&beside.0).map_err(|error| match error.path.strip_prefix(&beside.0) {
        // The user knows nothing of the name under which the folder is made.
        Ok(inside) => Error { path: path.join(inside), ..error },
        Err(_) => error,
    })?;
    sync_tree(&beside.0).map_err(system)?;
    fs::rename(&beside.0, path).map_err(system)?;
    sync_folder(folder_of(path)).map_err(system)
}

/// The name beside the target under which it is made; removed when it is dropped, if it is still there.
struct Beside(PathBuf);

impl Beside {
    /// Makes a file or folder under a name that is free.
    fn make<T>(target: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(Beside, T)> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let no_name = || io::Error::new(io::ErrorKind::InvalidFilename, "the path ends without a name");
        target.file_name().ok_or_else(no_name)?;
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = target.with_file_name(format!(".limpid-{}-{count}.tmp", std::process::id()));
            match make(&path) {
                // A process of the same number lost power once.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => return result.map(|made| (Beside(path), made)),
            }
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // After the rename there is nothing under this name; a failure to tidy up must not hide the first error.
        let _ = if self.0.is_dir() { fs::remove_dir_all(&self.0) } else { fs::remove_file(&self.0) };
    }
}

/// Where a symbolic link leads; `path` itself when it is none.
fn followed(path: &Path) -> PathBuf {
    let is_link = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink());
    if is_link { fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()) } else { path.to_owned() }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => sync_tree(&entry.path())?,
            kind if kind.is_file() => File::open(entry.path())?.sync_all()?,
            _ => {}
        }
    }
    sync_folder(folder)
}

/// Makes the names in a folder durable, where the system can.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    match File::open(folder)?.sync_all() {
        // Some network and FUSE file systems do not sync folders; the names are as durable as they can be there.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

fn write_error(path: &Path, target: &Path, error: &io::Error) -> Error {
    let folder = folder_of(target);
    if error.kind() == io::ErrorKind::NotFound && !folder.is_dir() {
        let what = format!("can not write to it: there is no folder {}", folder.display());
        return Error::file(path, what, "make the folder first");
    }
    Error::system(path, "write to", error)
}
