//! `limpid bench --profile`: where the time of a case goes.

use std::path::Path;
use std::time::{Duration, Instant};

use limpid::{Error, Result};
use limpid_io::write;

use super::cases::{Case, How};
use crate::terminal::say;

/// Prints the profile of `case`; `trace` is a file that its events are written to.
pub fn profile(case: &Case, how: How, trace: Option<&str>) -> Result<()> {
    limpid::manual_seed(0);
    let mut prepared = case.prepare(how)?;
    // Plans are made and memory is touched before.
    for _ in 0..3 {
        (prepared.step)()?;
    }
    let mut steps = 0;
    let (profile, done) = limpid::profile(|| {
        let begin = Instant::now();
        while steps < 3 || (steps < 100 && begin.elapsed() < Duration::from_secs(1)) {
            (prepared.step)()?;
            steps += 1;
        }
        Ok(())
    });
    done?;
    if let Some(file) = trace {
        let trace = profile.trace();
        write::atomic(Path::new(file), |out| out.write_all(trace.as_bytes())).map_err(|e| Error::new(e.to_string()))?;
    }
    say(&format!("{}: {}", case.name, profile.per(steps)));
    Ok(())
}
