//! Files and folders are complete or absent.

mod common;

use common::{Messages, files, folder};
use limpid_io::Error;
use limpid_io::write::{atomic, atomic_dir};
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

fn put(text: &str) -> impl FnOnce(&mut dyn Write) -> io::Result<()> {
    move |out| out.write_all(text.as_bytes())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_made_and_replaced() {
    let folder = folder("atomic");
    let path = folder.join("x.txt");
    let large = "a line\n".repeat(100_000);
    for text in ["one", "", &large, "two"] {
        atomic(&path, put(text)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(names(&folder), ["x.txt"]);
    let long = folder.join("n".repeat(255));
    atomic(&long, put("the longest name")).unwrap();
    assert_eq!(fs::read_to_string(&long).unwrap(), "the longest name");
}

#[test]
fn a_failure_leaves_what_was_there() {
    let folder = folder("atomic_failure");
    let (old, new) = (folder.join("old.txt"), folder.join("new.txt"));
    atomic(&old, put("old")).unwrap();
    for path in [&old, &new] {
        let full = |out: &mut dyn Write| {
            out.write_all(&[b'x'; 1 << 20])?;
            Err(ErrorKind::StorageFull.into())
        };
        let error = atomic(path, full).unwrap_err();
        assert_eq!(error.what, "can not write to it: the disk is full");
        let panics = |out: &mut dyn Write| {
            out.write_all(b"half")?;
            panic!("on purpose")
        };
        assert!(catch_unwind(AssertUnwindSafe(|| atomic(path, panics))).is_err());
    }
    assert_eq!(names(&folder), ["old.txt"]);
    assert_eq!(fs::read_to_string(old).unwrap(), "old");
}

#[cfg(unix)]
#[test]
fn permissions_are_kept_and_links_followed() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = folder("atomic_link");
    fs::create_dir(folder.join("inner")).unwrap();
    let (file, link) = (folder.join("inner/x.txt"), folder.join("link.txt"));
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("inner/x.txt", &link).unwrap();
    atomic(&link, put("new")).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!((names(&folder).len(), names(&folder.join("inner")).len()), (2, 1));
}

#[test]
fn a_reader_sees_one_whole_file_whoever_writes() {
    let folder = folder("atomic_threads");
    let path = folder.join("x.txt");
    atomic(&path, put(&"0".repeat(10_000))).unwrap();
    std::thread::scope(|scope| {
        for writer in 1..5 {
            let text = writer.to_string().repeat(10_000);
            let path = &path;
            scope.spawn(move || (0..20).for_each(|_| atomic(path, put(&text)).unwrap()));
        }
        for _ in 0..200 {
            let seen = fs::read(&path).unwrap();
            assert!(seen.len() == 10_000 && seen.iter().all(|byte| *byte == seen[0]));
        }
    });
    assert_eq!(names(&folder), ["x.txt"]);
}

#[test]
fn a_folder_is_made_whole() {
    let folder = folder("atomic_dir");
    let path = folder.join("run");
    let fill = |made: &Path| {
        assert!(!path.join("a.txt").exists());
        fs::create_dir(made.join("inner")).unwrap();
        atomic(&made.join("a.txt"), put("a"))?;
        atomic(&made.join("inner/b.txt"), put("b"))
    };
    atomic_dir(&path, fill).unwrap();
    let made: Vec<_> = files(&path, "txt").iter().map(|file| file.strip_prefix(&path).unwrap().to_owned()).collect();
    assert_eq!(made, [Path::new("a.txt"), Path::new("inner/b.txt")]);

    fs::create_dir(folder.join("empty")).unwrap();
    atomic_dir(&folder.join("empty"), |made| atomic(&made.join("c.txt"), put("c"))).unwrap();
    assert_eq!(names(&folder.join("empty")), ["c.txt"]);
    assert_eq!(names(&folder), ["empty", "run"]);
}

#[test]
fn a_folder_that_fails_is_not_there() {
    let folder = folder("atomic_dir_failure");
    let path = folder.join("run");
    let error = atomic_dir(&path, |made| {
        atomic(&made.join("a.txt"), put("a"))?;
        atomic(&made.join("gone/b.txt"), put("b"))
    });
    let error = error.unwrap_err();
    assert_eq!(error.path, path.join("gone/b.txt"), "the error names the folder that was asked for");
    assert!(catch_unwind(|| atomic_dir(&path, |_| panic!("on purpose"))).is_err());
    assert_eq!(names(&folder), [""; 0]);

    fs::create_dir(&path).unwrap();
    fs::write(path.join("mine.txt"), "mine").unwrap();
    fs::write(folder.join("file"), "mine").unwrap();
    for taken in [path.clone(), folder.join("file")] {
        let error = atomic_dir(&taken, |_| panic!("nothing is to be made")).unwrap_err();
        assert_eq!(error.what, "can not write to it: it exists and is not an empty folder");
    }
    assert_eq!(fs::read_to_string(path.join("mine.txt")).unwrap(), "mine");
}

#[test]
fn refusals_say_what_to_do() {
    let folder = folder("refusals");
    fs::write(folder.join("file"), "").unwrap();
    std::env::set_current_dir(&folder).unwrap();
    let mut messages = Messages::default();
    let never = |_: &mut dyn Write| -> io::Result<()> { panic!("nothing is to be written") };
    messages.add("no folder", atomic(Path::new("gone/x.txt"), never));
    messages.add("a folder", atomic(Path::new("/"), never));
    messages.add("no name", atomic(Path::new(""), never));
    messages.add("a file as a folder", atomic(Path::new("file/x.txt"), never));
    messages.add("no folder for a folder", atomic_dir(Path::new("gone/run"), |_| panic!("nothing is to be made")));
    if cfg!(unix) {
        messages.add("a device", atomic(Path::new("/dev/null"), never));
    }
    let kinds = [
        ErrorKind::NotFound,
        ErrorKind::PermissionDenied,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
        ErrorKind::FileTooLarge,
        ErrorKind::IsADirectory,
        ErrorKind::NotADirectory,
        ErrorKind::DirectoryNotEmpty,
        ErrorKind::InvalidFilename,
        ErrorKind::UnexpectedEof,
        ErrorKind::TimedOut,
    ];
    for kind in kinds {
        messages.add(&format!("{kind:?}"), Err::<(), _>(Error::system(Path::new("x.txt"), "write to", &kind.into())));
    }
    assert_eq!(names(&folder), ["file"]);
    messages.compare(include_str!("messages/write.txt"));
}
