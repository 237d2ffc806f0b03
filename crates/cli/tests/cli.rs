//! The command as a user runs it: the real program, its files and its exit codes. What it refuses is in
//! `bad_input.rs` and `bad_data.rs`, what the disk refuses in `disk.rs`.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, last_line, run_file, text};

#[test]
fn digits_are_learned_and_the_run_folder_is_complete() {
    let place = Place::new("digits");
    let end = last_line(&place.ok(&["train", "digits", "--json"]));
    assert_eq!((&end["event"], &end["run"], &end["epochs"]), (&"end".into(), &"runs/digits".into(), &60.into()));
    assert!(end["seconds"].as_f64().unwrap() > 0.0, "{end}");
    assert!(end["test"]["accuracy"].as_f64().unwrap() >= 0.955, "{end}");
    assert!(end["test"]["loss"].as_f64().unwrap() < 0.5, "{end}");
    assert_eq!(text(&place.read("runs/digits/metrics.jsonl")).lines().count(), 60);
    let report = text(&place.read("runs/digits/report.html"));
    assert!(report.contains("Confusion matrix") && report.contains("layers.2"), "{report}");
    place.read("runs/digits/run.toml");
    place.read("runs/digits/model.safetensors");
    let again = last_line(&place.ok(&["eval", "runs/digits", "--json"]));
    assert_eq!(again["test"], end["test"]);
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let place = Place::new("threads");
    for threads in ["1", "3"] {
        place.ok(&["train", "digits", "--epochs", "2", "--quiet", "--threads", threads, "--out", threads]);
    }
    assert_eq!(place.read("1/model.safetensors"), place.read("3/model.safetensors"));
}

#[test]
fn a_run_that_goes_on_from_a_checkpoint_has_the_bits_of_one_that_was_never_stopped() {
    let place = Place::new("resume");
    // With momentum and dropout: everything that a step can depend on.
    let options = ["--model", "[\"Linear(2, 16)\", \"ReLU\", \"Dropout(0.2)\", \"Linear(16, 2)\"]", "--epochs", "25"];
    for optimizer in ["AdamW", "SGD"] {
        let train = |out: &str, every: &str| {
            let mut args = vec!["train", "moons", "--quiet", "--out", out, "--checkpoint-every", every];
            args.extend(["--optimizer.name", optimizer, "--optimizer.momentum", "0.9"]);
            args.extend(options);
            place.ok(&args);
        };
        let (whole, stopped) = (format!("{optimizer}-whole"), format!("{optimizer}-stopped"));
        train(&whole, "1000");
        train(&stopped, "0");
        let folder = place.0.join(&stopped).join("checkpoints");
        let mut steps: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        steps.sort();
        assert!(steps.len() > 1, "{steps:?}");
        // As if the process had been killed after the oldest of them.
        steps[1..].iter().for_each(|step| fs::remove_dir_all(step).unwrap());
        fs::remove_file(place.0.join(&stopped).join("model.safetensors")).unwrap();
        place.ok(&["resume", &stopped, "--quiet"]);
        for file in ["model.safetensors", "metrics.jsonl"] {
            let files = [&whole, &stopped].map(|run| place.read(&format!("{run}/{file}")));
            assert!(files[0] == files[1], "{optimizer}: {file} differs");
        }
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_says_where_and_exits_with_130() {
    let place = Place::new("interrupt");
    // More epochs than any machine gets through before the signal arrives.
    let train = |epochs: &str, out: &str| {
        let args = ["train", "moons", "--epochs", epochs, "--schedule.name", "Constant", "--quiet", "--out", out];
        place.command(&args)
    };
    let child = train("10000000", "stopped").stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let metrics = place.0.join("stopped/metrics.jsonl");
    let begun = Instant::now();
    while fs::metadata(&metrics).map_or(0, |file| file.len()) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no epoch was finished");
        std::thread::sleep(Duration::from_millis(2));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(message.contains(": all of it is in stopped/checkpoints/"), "{message}");
    assert!(message.trim_end().ends_with("\n  limpid resume stopped"), "{message}");
    // Two epochs more, and the bits of a run that was never stopped.
    let done = text(&place.read("stopped/metrics.jsonl")).lines().count();
    let epochs = (done + 2).to_string();
    place.ok(&["resume", "stopped", "--quiet", "--epochs", &epochs]);
    assert!(train(&epochs, "whole").status().unwrap().success());
    assert!(place.read("whole/model.safetensors") == place.read("stopped/model.safetensors"));
    assert_eq!(place.read("whole/metrics.jsonl"), place.read("stopped/metrics.jsonl"));
    assert_eq!(
        text(&place.read("whole/run.toml")),
        text(&place.read("stopped/run.toml")),
        "the run's own file says how many epochs it has"
    );
}

#[test]
fn a_table_is_learned_and_new_rows_are_predicted() {
    let place = Place::new("predict");
    let rows: String = (0..80).map(|i| format!("{},{},{}\n", i % 9, i % 7, 2 * (i % 9) - (i % 7))).collect();
    place.write("table.csv", format!("a,b,y\n{rows}"));
    let model = run_file("[\"Linear(2, 1)\"]").replace("[loss]", "scale = \"standard\"\n[loss]");
    place.write("line.toml", model);
    let options = ["--optimizer.lr", "0.05", "--epochs", "60", "--batch", "8", "--json"];
    let end = last_line(&place.ok(&[&["train", "line.toml"][..], &options].concat()));
    assert!(end["test"]["r2"].as_f64().unwrap() > 0.999, "{end}");
    place.write("new.csv", "b,a\n1,4\n");
    let said = place.ok(&["predict", "runs/line", "new.csv"]);
    let number: f64 = said.lines().nth(1).unwrap().parse().unwrap();
    assert!(said.starts_with("y\n") && (number - 7.0).abs() < 0.2, "{said}");
    place.write("new.json", "[{\"a\": 4, \"b\": 1}]");
    let said = last_line(&place.ok(&["predict", "runs/line", "new.json"]));
    assert!((said["y"].as_f64().unwrap() - number).abs() < 1e-9, "{said}");
    place.write("wide.json", "[[1, 2, 3]]");
    place.fails(
        &["predict", "runs/line", "wide.json"],
        1,
        "error: wide.json: row 0: 3 features, the model was trained on 2",
    );
    let said = place.ok(&["eval", "runs/line", "--data", "table.csv", "--json"]);
    assert_eq!(last_line(&said)["rows"], 80);
}

#[test]
fn a_new_run_file_trains() {
    let place = Place::new("new");
    assert_eq!(place.ok(&["new", "mine"]), "mine.toml is written; next: limpid train mine.toml\n");
    place.fails(&["new", "mine"], 1, "error: mine.toml: the file exists\n  try --overwrite, or another name");
    place.fails(&["new", "a/b"], 2, "error: new: \"a/b\" is no name\n  try letters, digits, -, _ and .");
    let end = last_line(&place.ok(&["train", "mine.toml", "--epochs", "1", "--json"]));
    assert_eq!(end["run"], "runs/mine");
    assert!(Path::new(&place.0).join("runs/mine/report.html").exists());
}

#[test]
fn the_small_problems_are_learned() {
    let place = Place::new("small");
    for (name, least) in [("xor", 1.0), ("spiral", 0.95), ("moons", 0.97), ("circles", 0.97)] {
        let end = last_line(&place.ok(&["train", name, "--json"]));
        assert!(end["test"]["accuracy"].as_f64().unwrap() >= least, "{name}: {end}");
    }
}

#[test]
fn a_reader_that_stops_reading_is_no_failure() {
    let place = Place::new("pipe");
    let mut command = place.command(&["train", "xor", "--epochs", "50", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
}

#[cfg(target_os = "linux")]
#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    let place = Place::new("colours");
    // `script` (util-linux) runs a command on a terminal of its own.
    let on_terminal = |command: &str, no_color: Option<&str>| {
        let mut script = place.program("script");
        script.args(["-qec", &format!("\"$LIMPID\" {command}"), "/dev/null"]);
        script.envs(no_color.map(|value| ("NO_COLOR", value)));
        let output = script.output().ok()?;
        (!output.stdout.is_empty()).then(|| text(&output.stdout))
    };
    if on_terminal("--version", None).is_none() {
        println!("skipped: no `script` here that gives a command a terminal");
        return;
    }
    let train = "train xor --overwrite --epochs 300";
    for (command, coloured) in
        [(train, "\x1b[1m4 of 4 rows"), (train, "  accuracy    \x1b[32m"), ("trian", "\x1b[1;31merror\x1b[0m: unknown")]
    {
        for allowed in [None, Some("")] {
            let said = on_terminal(command, allowed).unwrap();
            assert!(said.contains(coloured), "{command}: {said:?}");
        }
        let said = on_terminal(command, Some("1")).unwrap();
        // The bar moves the cursor and clears its line, which is no colour.
        assert!(!said.replace("\x1b[2K", "").contains('\x1b'), "{command}: {said:?}");
        let output = place.run(&command.split(' ').collect::<Vec<_>>());
        assert!(!text(&[output.stdout, output.stderr].concat()).contains('\x1b'), "{command}");
    }
}
