//! A disk that is full, a folder that can not be written: what is said, the exit code, and that nothing saved is lost.
#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use common::{Place, text};

/// Trains until something stops it, in steps that all have the same length.
const ENDLESS: &str = "--epochs 10000000 --schedule.name Constant --checkpoint-every 0 --quiet";
/// The files of a checkpoint.
const PARTS: [&str; 4] = ["model.safetensors", "optimizer.safetensors", "best.safetensors", "state.json"];
const WIDE: &str = r#"--model '["Linear(2, 4096)", "ReLU", "Linear(4096, 2)"]'"#;
const SMALL: &str = r#"--model '["Linear(2, 8)", "ReLU", "Linear(8, 2)"]'"#;

/// Runs a shell's script in the place, with the command as `$LIMPID`.
fn shell(place: &Place, program: &[&str], script: &str) -> Output {
    place.program(program[0]).args(&program[1..]).args(["-c", script]).output().unwrap()
}

/// A shell in a name space of its own, where file systems can be mounted that nobody else sees; `None` where the
/// system allows none: the test says so and ends.
fn mounting_shell(place: &Place) -> Option<[&'static str; 3]> {
    let program = ["unshare", "-rm", "sh"];
    fs::create_dir_all(place.0.join("probe")).unwrap();
    let probe = Command::new(program[0])
        .args(&program[1..])
        .args(["-c", "mount -t tmpfs -o size=64k tmpfs probe && touch probe/file"])
        .current_dir(&place.0)
        .output();
    match probe {
        Ok(output) if output.status.success() => Some(program),
        Ok(output) => {
            println!("skipped: no file system can be mounted here: {}", text(&output.stderr));
            None
        }
        Err(error) => {
            println!("skipped: no `unshare` here: {error}");
            None
        }
    }
}

/// All files below a folder with their contents.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

fn newest(steps: &str) -> u64 {
    steps.lines().map(|step| step.parse().unwrap()).max().unwrap()
}

/// An uninterrupted run of `epochs` epochs has the same bits.
fn compare_with_whole(place: &Place, epochs: usize, options: &str, run: &str) {
    let script = format!(
        "\"$LIMPID\" train moons {options} --out whole {} --epochs {epochs}",
        ENDLESS.replace("--checkpoint-every 0", "")
    );
    let output = shell(place, &["sh"], &script);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for file in ["model.safetensors", "metrics.jsonl"] {
        assert!(place.read(&format!("whole/{file}")) == place.read(&format!("{run}/{file}")), "{file} differs");
    }
}

#[test]
fn a_disk_that_fills_up_stops_the_run_and_loses_nothing() {
    let place = Place::new("full");
    let Some(program) = mounting_shell(&place) else { return };
    fs::create_dir_all(place.0.join("disk")).unwrap();
    // Two or three checkpoints of this model fit beside somebody else's file, and not what comes after them.
    let script = format!(
        "mount -t tmpfs -o size=8m tmpfs disk && head -c 7m /dev/zero > disk/other || exit 90
         \"$LIMPID\" train moons {WIDE} {ENDLESS} --out disk/run
         code=$?
         ls disk/run/checkpoints > steps
         ls -A disk/run disk/run/checkpoints > files
         \"$LIMPID\" eval disk/run > measured || exit 91
         rm disk/other || exit 92
         \"$LIMPID\" resume disk/run --quiet --epochs $(($(wc -l < disk/run/metrics.jsonl) + 1)) || exit 93
         mkdir kept && cp disk/run/m* kept
         exit $code"
    );
    let output = shell(&place, &program, &script);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let step = newest(&text(&place.read("steps")));
    let (first, rest) = said.split_once('\n').unwrap();
    // Which write meets the end of the disk depends on how fast the machine is; each of them is a file of the run.
    let file = first.strip_prefix("error: disk/run/").unwrap_or_else(|| panic!("{said}"));
    let file = file.strip_suffix(": can not write to it: the disk is full").unwrap_or_else(|| panic!("{said}"));
    let in_checkpoint = file.strip_prefix("checkpoints/").and_then(|file| file.split_once('/'));
    match in_checkpoint {
        Some((at, name)) => assert!(at.parse::<u64>().unwrap() > step && PARTS.contains(&name), "{said}"),
        None => assert!(["model.safetensors", "metrics.jsonl"].contains(&file), "{said}"),
    }
    assert_eq!(
        rest.trim_end(),
        format!(
            "  free some space, or choose another disk\n  all up to step {step} is kept, and goes on with: limpid \
             resume disk/run"
        )
    );
    let files = text(&place.read("files"));
    assert!(!files.contains(".limpid-"), "nothing half-written is left: {files}");
    let epochs = text(&place.read("kept/metrics.jsonl")).lines().count();
    compare_with_whole(&place, epochs, WIDE, "kept");
}

#[test]
fn a_file_that_can_grow_no_further_stops_the_run_and_loses_nothing() {
    let place = Place::new("limit");
    // The limit is in blocks of 512 or 1024 bytes: the checkpoints of this model are below it, the metrics get there.
    let script = format!("ulimit -f 16; trap '' XFSZ; exec \"$LIMPID\" train moons {ENDLESS} --out run {SMALL}");
    let output = shell(&place, &["sh"], &script);
    let steps: Vec<String> = fs::read_dir(place.0.join("run/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let step = newest(&steps.join("\n"));
    let message = format!(
        "error: run/metrics.jsonl: can not write to it: the file system takes no file of this size\n  choose another \
         disk\n  all up to step {step} is kept, and goes on with: limpid resume run\n"
    );
    assert_eq!(text(&output.stderr), message);
    assert_eq!(output.status.code(), Some(1));
    let cut = text(&place.read("run/metrics.jsonl"));
    assert!(!cut.ends_with('\n'), "the last line was cut short, or this test shows nothing: {cut}");
    let epochs = cut.lines().count() + 1;
    place.ok(&["eval", "run"]);
    place.ok(&["resume", "run", "--quiet", "--epochs", &epochs.to_string()]);
    compare_with_whole(&place, epochs, SMALL, "run");
}

#[test]
fn output_that_can_not_be_written_is_a_failure() {
    if !Path::new("/dev/full").exists() {
        println!("skipped: there is no /dev/full here");
        return;
    }
    let place = Place::new("output");
    let message = "error: standard output: can not write to it: the disk is full\n  free some space, or choose another \
                   disk\n";
    for command in ["train xor --json", "--help", "train --help", "--version", "eval runs/xor", "bench --list"] {
        let output = shell(&place, &["sh"], &format!("exec \"$LIMPID\" {command} > /dev/full"));
        assert_eq!(text(&output.stderr), message, "{command}");
        assert_eq!(output.status.code(), Some(1), "{command}");
    }
    // The run itself is complete.
    place.ok(&["eval", "runs/xor"]);
    assert!(place.0.join("runs/xor/report.html").exists());
    let output = shell(&place, &["sh"], "exec \"$LIMPID\" train none.toml 2> /dev/full");
    assert_eq!(output.status.code(), Some(2), "a message that can not be written is no panic");
}

#[test]
fn on_a_read_only_file_system_runs_can_be_read_and_stay_as_they_are() {
    let place = Place::new("read-only");
    let Some(program) = mounting_shell(&place) else { return };
    place.ok(&["train", "xor", "--epochs", "3", "--quiet", "--out", "disk/run"]);
    let before = contents(&place.0.join("disk"));
    for (command, code, message) in [
        (
            "train xor --quiet --out disk/new",
            1,
            "error: disk/new: can not make it: it is on a read-only file system\n  choose another place",
        ),
        (
            "train xor --quiet --out disk/run --overwrite",
            1,
            "error: disk/run/checkpoints: can not remove it: it is on a read-only file system\n  choose another place",
        ),
        (
            "resume disk/run --quiet",
            1,
            "error: disk/run/metrics.jsonl: can not write to it: it is on a read-only file system\n  choose another place",
        ),
        (
            "resume disk/run --quiet --epochs 9",
            1,
            "error: disk/run/run.toml: can not write to it: it is on a read-only file system\n  choose another place",
        ),
        ("eval disk/run", 0, ""),
    ] {
        let script = format!(
            "mount --bind disk disk && mount -o remount,bind,ro disk || exit 90
             exec \"$LIMPID\" {command}"
        );
        let output = shell(&place, &program, &script);
        assert_eq!(text(&output.stderr).trim_end(), message, "{command}");
        assert_eq!(output.status.code(), Some(code), "{command}");
        assert!(contents(&place.0.join("disk")) == before, "{command} changed something");
    }
}

/// A shell that permissions stop, also where the tests run as root: without the right to ignore them (Linux,
/// capabilities(7)). `None` where there is none: the test says so and ends.
fn stopped_shell(place: &Place) -> Option<Vec<&'static str>> {
    let closed = place.0.join("closed");
    fs::create_dir_all(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let without = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override", "sh"];
    for program in [&["sh"][..], &without] {
        let probe = Command::new(program[0])
            .args(&program[1..])
            .args(["-c", "test -d closed && ! touch closed/file"])
            .current_dir(&place.0)
            .output();
        if probe.is_ok_and(|output| output.status.success()) {
            return Some(program.to_vec());
        }
        let _ = fs::remove_file(closed.join("file"));
    }
    println!("skipped: permissions do not stop this user, and `setpriv` can not change that");
    None
}

#[test]
fn a_folder_without_permission_to_write_stays_as_it_is() {
    let place = Place::new("permission");
    let Some(program) = stopped_shell(&place) else { return };
    place.ok(&["train", "xor", "--epochs", "3", "--quiet", "--out", "run"]);
    let run = place.0.join("run");
    fs::set_permissions(&run, fs::Permissions::from_mode(0o555)).unwrap();
    let before = contents(&run);
    for (command, message) in [
        (
            "train xor --quiet --out closed/run",
            "error: closed/run: can not make it: permission denied\n  change its permissions, or choose another place",
        ),
        (
            "train xor --quiet --out run --overwrite",
            "error: run/checkpoints: can not remove it: permission denied\n  change its permissions, or choose another place",
        ),
        (
            "resume run --quiet --epochs 9",
            "error: run/run.toml: can not write to it: permission denied\n  change its permissions, or choose another place",
        ),
    ] {
        let output = shell(&place, &program, &format!("exec \"$LIMPID\" {command}"));
        assert_eq!(text(&output.stderr).trim_end(), message, "{command}");
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(contents(&run) == before, "{command} changed something");
    }
    for folder in ["run", "closed"] {
        fs::set_permissions(place.0.join(folder), fs::Permissions::from_mode(0o755)).unwrap();
    }
}
