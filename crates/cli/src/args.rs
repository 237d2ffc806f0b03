//! The arguments of a command.

use limpid::Error;

use crate::settings::placed_unknown;

/// An option of a command: its name, and what its value is called where it has one.
pub type Option_ = (&'static str, Option<&'static str>);

/// What stands on the line.
#[derive(Debug, Default)]
pub struct Args {
    /// What stands without dashes.
    pub words: Vec<String>,
    /// Options of the command, with their value; empty for those without.
    options: Vec<(&'static str, String)>,
    /// Options that are words of a run file.
    pub settings: Vec<(String, String)>,
}

impl Args {
    /// Reads `args`: `--NAME`, `--NAME VALUE`, `--NAME=VALUE`, and words. What is no option of the command has to be
    /// one of `settings`.
    ///
    /// # Errors
    /// An option that is unknown (with the one that was probably meant), or has no value.
    pub fn parse(args: &[String], options: &[Option_], settings: &[&str]) -> Result<Args, Error> {
        let mut parsed = Args::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let Some(option) = arg.strip_prefix("--").filter(|option| !option.is_empty()) else {
                parsed.words.push(arg.clone());
                continue;
            };
            let (name, joined) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (option, None),
            };
            let known = options.iter().find(|(known, _)| *known == name || *known == name.replace('_', "-"));
            if let Some((known, None)) = known {
                parsed.options.push((known, String::new()));
                continue;
            }
            if known.is_none() && !settings.contains(&name) {
                let all: Vec<&str> = options.iter().map(|(name, _)| *name).chain(settings.iter().copied()).collect();
                return Err(placed_unknown(Error::new(format!("unknown option --{name}")), name, &all));
            }
            let value = joined.or_else(|| args.next().cloned());
            let value = value.ok_or_else(|| Error::new(format!("--{name} needs a value")))?;
            match known {
                Some((known, _)) => parsed.options.push((known, value)),
                None => parsed.settings.push((name.to_owned(), value)),
            }
        }
        Ok(parsed)
    }

    /// Whether the option is there.
    pub fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(option, _)| *option == name)
    }

    /// The value of an option; the last one counts.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(option, _)| *option == name).map(|(_, value)| value.as_str())
    }

    /// The value of an option as a number of threads, set.
    ///
    /// # Errors
    /// What is no number from 1.
    pub fn set_threads(&self) -> Result<(), Error> {
        let Some(text) = self.value("threads") else { return Ok(()) };
        match text.parse() {
            Ok(threads) if (1..=1024).contains(&threads) => limpid::set_threads(threads),
            _ => return Err(Error::new(format!("--threads: {text:?} is no number of threads from 1 to 1024"))),
        }
        Ok(())
    }
}
