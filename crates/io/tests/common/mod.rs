//! What the tests of all formats share.
#![allow(dead_code)]

use limpid_io::Error;
use std::path::{Path, PathBuf};

/// Real files: the folder of `LIMPID_SHARED`, or `shared` beside the workspace. `None` where it is absent: the test
/// says so and ends.
pub fn shared(path: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let root = std::env::var_os("LIMPID_SHARED").map_or(beside, PathBuf::from);
    let found = root.join(path);
    if !found.exists() {
        println!("skipped: {} is not there", found.display());
        return None;
    }
    Some(found)
}

/// All files below `folder` with this extension, sorted.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A folder of this name that is empty.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The messages of a table of broken files, as they stand in `tests/messages`.
#[derive(Default)]
pub struct Messages(String);

impl Messages {
    pub fn add<T: std::fmt::Debug>(&mut self, case: &str, result: Result<T, Error>) {
        let error = match result {
            Err(error) => error.to_string(),
            Ok(read) => panic!("{case}: was read as {read:?}"),
        };
        assert!(matches!(error.lines().count(), 2 | 3), "{case}: {error}");
        self.0 += &format!("# {case}\n{error}\n\n");
    }

    pub fn compare(&self, wanted: &str) {
        assert!(self.0 == wanted, "the messages are now:\n\n{}", self.0);
    }
}

/// Marsaglia's xorshift: the same numbers in every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
