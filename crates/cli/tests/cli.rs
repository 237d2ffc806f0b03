//! The command as a user runs it: the real program, its messages, its files and its exit codes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A folder of a test's own, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("limpid-cli-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_limpid"));
        command.args(args).current_dir(&self.0).stdin(Stdio::null());
        for variable in ["LIMPID_ISA", "LIMPID_THREADS", "LIMPID_SHOW", "LIMPID_INLINE"] {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The run has to succeed; its standard output.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The run has to fail with this code and exactly this message.
    fn fails(&self, args: &[&str], code: i32, message: &str) {
        let output = self.run(args);
        assert_eq!(text(&output.stderr).trim_end(), message, "{args:?}");
        assert_eq!(output.status.code(), Some(code), "{args:?}");
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn last_line(output: &str) -> Value {
    serde_json::from_str(output.lines().last().unwrap()).unwrap()
}

/// A run file for a table: `edit` may change it.
fn run_file(model: &str) -> String {
    format!(
        "epochs = 2\nbatch = 2\nmodel = {model}\n[data]\nname = \"csv\"\npath = \"table.csv\"\ntarget = \"y\"\n\
         task = \"regression\"\ntest = 0.25\nvalidation = 0.0\n[loss]\nname = \"MSELoss\"\n"
    )
}

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
fn words_that_are_not_understood_are_named_with_the_ones_that_were_meant() {
    let place = Place::new("misused");
    for (args, message) in [
        (&["trian", "digits"][..], "error: unknown command \"trian\"\n  did you mean `train`?"),
        (&["train", "digit"], "error: train: \"digit\" is no run file and no built-in name\n  did you mean `digits`?"),
        (&["train", "digits", "--epoch", "3"], "error: unknown option --epoch\n  did you mean `epochs`?"),
        (&["train", "digits", "--lr", "3"], "error: unknown option --lr\n  did you mean `optimizer.lr`?"),
        (&["train", "digits", "--epochs"], "error: --epochs needs a value"),
        (
            &["train", "digits", "--epochs", "0"],
            "error: --epochs: `epochs` is a whole number (0), not a whole number from 1",
        ),
        (
            &["train", "digits", "--optimizer.lr", "fast"],
            "error: --optimizer.lr: `optimizer.lr` is text (\"fast\"), not a number over 0",
        ),
        (&["train", "digits", "--threads", "0"], "error: --threads: \"0\" is no number of threads from 1 to 1024"),
        (&["train", "digits", "more"], "error: train: one thing at a time: \"more\" is left over"),
    ] {
        place.fails(args, 2, message);
    }
    assert!(!place.0.join("runs").exists());
}

#[test]
fn a_run_file_is_checked_word_by_word() {
    let place = Place::new("words");
    for (file, message) in [
        ("epoch = 3\n", "error: my.toml:1: unknown word `epoch`\n  did you mean `epochs`?"),
        (
            "seed = 1\n[optimizer]\nname = \"Adamw\"\n[data]\nname=\"xor\"\n",
            "error: the model has no layers\n  try model = [\"Linear(64, 32)\", \"ReLU\", \"Linear(32, 10)\"]",
        ),
        (
            "model = [\"ReLU\"]\n[data]\nname=\"xor\"\n[optimizer]\nname = \"Adamw\"\n",
            "error: my.toml:5: unknown optimizer.name `Adamw`\n  did you mean `AdamW`?",
        ),
        ("model = [\"ReLU\"]\n[optimizer]\nrate = 1\n", "error: my.toml:3: unknown word `optimizer.rate`"),
        ("seed = \n", "error: my.toml:1: "),
        (
            "seed = \"7\"\nmodel = [\"ReLU\"]\n[data]\nname = \"xor\"\n",
            "error: my.toml:1: `seed` is text (\"7\"), not a whole number from 0",
        ),
        ("model = [\"ReLU\"]\n", "error: the run has no data\n  try [data] with name = \"csv\", path and target"),
        ("model = [\"ReLU\"]\ndata.name = \"csv\"\n", "error: my.toml:2: \"csv\" needs `data.path`"),
    ] {
        place.write("my.toml", file);
        let output = place.run(&["train", "my.toml"]);
        let said = text(&output.stderr);
        assert!(said.starts_with(message), "{file}: {said}\n{message}");
        assert_eq!(output.status.code(), Some(2), "{file}");
    }
    place.fails(&["train", "none.toml"], 2, "error: none.toml: can not read it: there is no such file or folder\n  check the spelling and the working folder");
}

#[test]
fn a_model_that_does_not_fit_is_named_by_its_layer() {
    let place = Place::new("model");
    for (model, message) in [
        ("[\"Linaer(2, 4)\"]", "error: model[0]: unknown layer `Linaer`\n  did you mean `Linear`?"),
        (
            "[\"Linear(2)\"]",
            "error: model[0]: `Linear(2)`: `out_features` is missing\n  try Linear(in_features, out_features, bias=1)",
        ),
        ("[\"Linear(2, 4\"]", "error: model[0]: `Linear(2, 4` has no closing parenthesis"),
        ("[\"Linear(2, 0)\"]", "error: model[0]: `Linear(2, 0)`: `out_features` is 0, not a whole number from 1"),
    ] {
        place.fails(&["train", "xor", "--model", model], 2, &message.replace("model[0]", "--model: model[0]"));
    }
    let output = place.run(&["train", "xor", "--model", "[\"Linear(2, 8)\", \"ReLU\", \"Linear(9, 2)\"]"]);
    let said = text(&output.stderr);
    assert!(
        said.starts_with(
            "error: the model does not fit rows of 2 features\n  matmul: inner sizes differ: [1, 8] × [9, 2]; 8 ≠ 9"
        ),
        "{said}"
    );
    assert!(said.contains("layers.2"), "{said}");
    let wrong_end = "error: the model gives [1, 3] for 1 rows, not [1, 2]: a number for each class\n  try a last layer with 2 outputs";
    place.fails(&["train", "xor", "--quiet", "--model", "[\"Linear(2, 3)\"]"], 1, wrong_end);
}

#[test]
fn data_that_can_not_be_used_is_named_by_file_line_and_column() {
    let place = Place::new("data");
    place.write("run.toml", run_file("[\"Linear(2, 1)\"]"));
    for (table, message) in [
        (
            "a,b,y\n1,2,3\n1,2\n",
            "error: table.csv:3: expected 3 fields, found 2\n  add or remove fields, and put a field that holds the \
             delimiter in double quotes",
        ),
        (
            "a,b,y\n1,2,0.5\n1,two,1.5\n",
            "error: table.csv:3: \"two\" is no number\n  in column 2, \"b\"\n  correct it, remove the row, or leave the \
             column out",
        ),
        (
            "a,b,y\n1,2,0.5\n1,NaN,1.5\n",
            "error: table.csv:3: \"NaN\" is no finite number\n  in column 2, \"b\"\n  correct it, remove the row, or \
             leave the column out",
        ),
        ("a,b,y\n", "error: table.csv: the data set is empty: it has no rows\n  try rows of numbers below the header"),
        ("a,b,z\n1,2,3\n", "error: table.csv: there is no column \"y\"\n  its columns are \"a\", \"b\", \"z\""),
    ] {
        place.write("table.csv", table);
        place.fails(&["train", "run.toml"], 1, message);
    }
    fs::remove_file(place.0.join("table.csv")).unwrap();
    let message = "error: table.csv: can not read it: there is no such file or folder\n  check the spelling and the \
                   working folder";
    place.fails(&["train", "run.toml"], 1, message);
    let message = "error: batches: a batch of 2000 is larger than the data: digits has 1294 rows\n  try a batch of 1294 \
                   or less";
    place.fails(&["train", "digits", "--quiet", "--batch", "2000"], 1, message);
    assert!(!place.0.join("runs").exists(), "a run that can not begin leaves no folder");
}

#[test]
fn idx_files_that_lie_or_are_missing_are_named() {
    let place = Place::new("mnist");
    let output = place.run(&["train", "mnist", "none"]);
    assert!(text(&output.stderr).contains("none/train-images-idx3-ubyte: can not read it: there is no such file"));
    assert_eq!(output.status.code(), Some(1));
    // Two images of 2×2 pixels are promised, one is there.
    place.write("short/train-images-idx3-ubyte", [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4]);
    let output = place.run(&["train", "mnist", "short"]);
    let message = "error: short/train-images-idx3-ubyte: u8 of shape [2, 2, 2] needs more bytes than the file can hold \
                   (4)\n  at byte 4, sizes\n  the file is damaged or is no IDX file; get it again\n";
    assert_eq!(text(&output.stderr), message);
    assert_eq!(output.status.code(), Some(1));
    place.fails(
        &["train", "mnist"],
        2,
        "error: train: mnist needs the folder of its files\n  try limpid train mnist DIR",
    );
}

#[test]
fn a_run_that_exists_is_kept_unless_it_may_be_overwritten() {
    let place = Place::new("exists");
    let args = ["train", "xor", "--epochs", "3", "--quiet"];
    place.ok(&args);
    let before = place.read("runs/xor/model.safetensors");
    place.fails(
        &args,
        1,
        "error: runs/xor: the run exists\n  try --overwrite to replace it, or --out with another folder",
    );
    assert_eq!(before, place.read("runs/xor/model.safetensors"));
    place.ok(&[&args[..], &["--overwrite", "--seed", "5"]].concat());
    assert_ne!(before, place.read("runs/xor/model.safetensors"));
    place.write("mine/letter.txt", "dear");
    let other = [&args[..], &["--overwrite", "--out", "mine"]].concat();
    place.fails(&other, 1, "error: mine: the folder exists, and is no run\n  try --out with another folder");
    assert_eq!(place.read("mine/letter.txt"), b"dear");
}

#[test]
fn a_loss_that_explodes_is_named_by_step_and_operation() {
    let place = Place::new("infinite");
    place.write("table.csv", "a,b,y\n1,2,3\n2,3,5\n3,4,7\n4,5,9\n5,6,11\n6,7,13\n7,8,15\n8,9,17\n");
    place.write("run.toml", run_file("[\"Linear(2, 1)\"]"));
    let help = "  try a smaller learning rate (--optimizer.lr), or --optimizer.clip_norm 1";
    let first = "  first: the loss itself, inf; the model's output is finite";
    let args = ["train", "run.toml", "--quiet", "--optimizer.name", "SGD", "--optimizer.lr", "1e30"];
    place.fails(&args, 1, &format!("error: the loss is not finite in step 2\n{first}\n{help}"));
    let first = "  first: the result of layers.2 (Linear 512→10), which holds -inf";
    let args = ["train", "digits", "--quiet", "--optimizer.lr", "1e25"];
    place.fails(&args, 1, &format!("error: the loss is not finite in step 2\n{first}\n{help}"));
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
fn a_model_of_another_architecture_is_refused_with_its_names() {
    let place = Place::new("architecture");
    place.ok(&["train", "xor", "--epochs", "2", "--quiet"]);
    let file = text(&place.read("runs/xor/run.toml"));
    place.write(
        "runs/xor/run.toml",
        file.replace("Linear(2, 8)", "Linear(2, 9)").replace("Linear(8, 2)", "Linear(9, 2)"),
    );
    let output = place.run(&["eval", "runs/xor"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("wrong shape: layers.0.weight is [9, 2] in the model, [8, 2] in the state"), "{said}");
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
fn a_folder_that_can_not_be_made_is_named_before_anything_is_trained() {
    let place = Place::new("folder");
    place.write("file", "text");
    let message = "error: file/run: can not make it: a part of its path is a file, not a folder\n  check the path";
    place.fails(&["train", "digits", "--out", "file/run"], 1, message);
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

#[test]
fn a_loss_for_something_else_is_refused() {
    let place = Place::new("loss");
    let message = "error: MSELoss is for numbers, the data has 2 classes\n  try --loss.name CrossEntropyLoss, or --data.task regression";
    place.fails(&["train", "xor", "--loss.name", "MSELoss"], 1, message);
    let model = "[\"Linear(2, 8)\", \"Tanh\", \"Linear(8, 1)\"]";
    let end = last_line(&place.ok(&["train", "xor", "--loss.name", "BCEWithLogitsLoss", "--model", model, "--json"]));
    assert_eq!(end["test"]["accuracy"], 1.0);
}
