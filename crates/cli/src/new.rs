//! `limpid new`: a run file of one's own.

use std::path::PathBuf;

use limpid::{Error, Result};
use limpid_io::write;

use crate::args::Args;
use crate::builtin;
use crate::failure::Failure;
use crate::terminal::say;

pub const USAGE: &str = "\
limpid new NAME [--overwrite]    writes NAME.toml: a run file with comments
";

/// `limpid new`.
pub fn new(args: &[String]) -> Result<(), Failure> {
    let args = Args::parse(args, &[("overwrite", None)], &[]).map_err(Failure::Misused)?;
    let [name] = &args.words[..] else {
        return Err(Failure::Misused(Error::new("new: which name?").help(USAGE.trim_end())));
    };
    let name = name.strip_suffix(".toml").unwrap_or(name);
    if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)) {
        let error = Error::new(format!("new: {name:?} is no name")).help("letters, digits, -, _ and .");
        return Err(Failure::Misused(error));
    }
    let path = PathBuf::from(format!("{name}.toml"));
    if path.exists() && !args.has("overwrite") {
        return Err(Error::new(format!("{}: the file exists", path.display()))
            .help("--overwrite, or another name")
            .into());
    }
    let text = builtin::template(name);
    write::atomic(&path, |out| out.write_all(text.as_bytes())).map_err(|error| Error::new(error.to_string()))?;
    say(&format!("{0} is written; next: limpid train {0}\n", path.display()));
    Ok(())
}
