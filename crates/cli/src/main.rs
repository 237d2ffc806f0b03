//! The command `limpid`.

#![forbid(unsafe_code)]

mod args;
mod bench;
mod builtin;
mod config;
mod draw;
mod ending;
mod eval;
mod failure;
mod folder;
mod model;
mod new;
mod parts;
mod predict;
mod progress;
mod settings;
mod suggest;
mod terminal;
mod train;
mod words;

use std::ffi::OsString;

use failure::Failure;
use limpid::Error;
use settings::placed_unknown;
use terminal::{complain, say};

const USAGE: &str = "\
limpid COMMAND [options]

  train WHAT     digits, xor, spiral, moons, circles, mnist DIR, or a run file NAME.toml
  resume RUN     goes on with a run that was stopped
  eval RUN       measures a trained model
  predict RUN    says what it makes of new rows: CSV or JSON on standard input
  new NAME       writes a run file of your own
  bench          measures this machine

  limpid COMMAND --help says more.   Exit codes: 0 done, 1 failed, 2 misused, 130 stopped by Ctrl-C.
";

type Command = fn(&[String]) -> Result<(), Failure>;

/// Name, function and usage of each command.
const COMMANDS: [(&str, Command, &str); 6] = [
    ("train", train::train, train::USAGE),
    ("resume", train::resume, train::RESUME_USAGE),
    ("eval", eval::eval, eval::USAGE),
    ("predict", predict::predict, predict::USAGE),
    ("new", new::new, new::USAGE),
    ("bench", bench::bench, bench::USAGE),
];

fn main() {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    for complaint in &limpid::config().complaints {
        complain(&format!("note: {complaint}"));
    }
    if args.is_empty() {
        complain(USAGE.trim_end());
        std::process::exit(2);
    }
    let done = texts(&args)
        .and_then(|args| dispatch(&args))
        .and_then(|()| terminal::lost().map_or(Ok(()), |error| Err(error.into())));
    let code = match done {
        Ok(()) => 0,
        Err(failure) => {
            failure.tell(args.iter().any(|arg| arg == "--json"));
            failure.code()
        }
    };
    std::process::exit(code);
}

/// The arguments as texts.
fn texts(args: &[OsString]) -> Result<Vec<String>, Failure> {
    let text = |arg: &OsString| {
        let wrong = || Failure::Misused(Error::new(format!("the argument {arg:?} is not UTF-8")));
        arg.to_str().map(str::to_owned).ok_or_else(wrong)
    };
    args.iter().map(text).collect()
}

fn dispatch(args: &[String]) -> Result<(), Failure> {
    let name = args.first().map_or("help", String::as_str);
    if matches!(name, "help" | "--help" | "-h") {
        say(USAGE);
        return Ok(());
    }
    if matches!(name, "--version" | "-V") {
        say(concat!("limpid ", env!("CARGO_PKG_VERSION"), "\n"));
        return Ok(());
    }
    match COMMANDS.iter().find(|(command, _, _)| *command == name) {
        Some((_, _, usage)) if args[1..].iter().any(|arg| arg == "--help" || arg == "-h") => {
            say(usage);
            Ok(())
        }
        Some((_, run, _)) => run(&args[1..]),
        None => {
            let names: Vec<&str> = COMMANDS.iter().map(|(name, _, _)| *name).collect();
            Err(Failure::Misused(placed_unknown(Error::new(format!("unknown command {name:?}")), name, &names)))
        }
    }
}
