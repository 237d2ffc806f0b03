//! What the tests of the command share: the real program in a folder of its own.
#![allow(dead_code)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const LIMPID: &str = env!("CARGO_BIN_EXE_limpid");

/// A folder of a test's own, removed at its end.
pub struct Place(pub PathBuf);

impl Place {
    pub fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("limpid-cli-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    /// The command.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program(LIMPID);
        command.args(args);
        command
    }

    /// A program in this folder, which finds the command in the variable `LIMPID`.
    pub fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.0).stdin(Stdio::null()).env("LIMPID", LIMPID);
        for variable in ["LIMPID_ISA", "LIMPID_THREADS", "LIMPID_SHOW", "LIMPID_INLINE", "NO_COLOR"] {
            command.env_remove(variable);
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The run has to succeed; its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The run has to fail with this code and exactly this message.
    pub fn fails(&self, args: &[&str], code: i32, message: &str) {
        let output = self.run(args);
        assert_eq!(text(&output.stderr).trim_end(), message, "{args:?}");
        assert_eq!(output.status.code(), Some(code), "{args:?}");
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub fn last_line(output: &str) -> Value {
    serde_json::from_str(output.lines().last().unwrap()).unwrap()
}

/// A run file for a table: `edit` may change it.
pub fn run_file(model: &str) -> String {
    format!(
        "epochs = 2\nbatch = 2\nmodel = {model}\n[data]\nname = \"csv\"\npath = \"table.csv\"\ntarget = \"y\"\n\
         task = \"regression\"\ntest = 0.25\nvalidation = 0.0\n[loss]\nname = \"MSELoss\"\n"
    )
}
