//! Development tasks, started by `cargo xtask TASK`.
#![forbid(unsafe_code)]

mod classes;
mod conformance;
mod ulp;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK

tasks:
  classes              print docs/torch.md, the names of PyTorch and Limpid's, and check it against the sources
  ulp [--function F]   measure elementary functions of f32 on all 2^32 inputs and every instruction set;
                       F is exp, expm1, log, log1p, sin, cos, atan, tanh, erf or sigmoid
                       (default: exp, log, tanh, erf and sigmoid)
  conformance torch DIR [CLASS…]   run PyTorch's recorded cases in DIR, or those of the classes whose names begin
                       with one of CLASS; exit code 1 when one fails
  conformance differences DIR [CLASS…]   check first and second gradients of those cases in f64 by finite
                       differences";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["classes"] => classes::run(),
        ["ulp"] => ulp::run(None).map(|()| true),
        ["ulp", "--function", name] => ulp::run(Some(name)).map(|()| true),
        ["conformance", "torch", dir, ref only @ ..] => conformance::torch(dir, only),
        ["conformance", "differences", dir, ref only @ ..] => conformance::by_differences(dir, only),
        _ => Err(USAGE.to_string()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}
