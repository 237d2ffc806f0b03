//! Words, models and runs that can not be used (data is in `bad_data.rs`): exactly what the program says, its exit
//! code, and that nothing is lost.

mod common;

use std::fs;

use common::{Place, last_line, run_file, text};

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
        (
            &["train", "moons", "--name", "a/../../b"],
            "error: --name: `name` is text (\"a/../../b\"), not a name for a folder",
        ),
        (&["train", "moons", "--out", ""], "error: --out: the name of the folder is missing"),
        (
            &["train", "moons", "--data.points", "100000000000000"],
            "error: --data.points: `data.points` is a whole number (100000000000000), not a whole number from 1 to \
             100000000",
        ),
        (
            &["train", "xor", "--model", "[\"Linear(1000000000, 1000000000)\"]"],
            "error: --model: model[0]: `Linear(1000000000, 1000000000)`: 1e18 weights are too many for a layer\n  try \
             2147483648 or fewer",
        ),
        (&["train", "digits", "more"], "error: train: one thing at a time: \"more\" is left over"),
    ] {
        place.fails(args, 2, message);
    }
    assert!(!place.0.join("runs").exists());
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let output = place.command(&["train"]).arg(std::ffi::OsStr::from_bytes(b"\xff.toml")).output().unwrap();
        assert_eq!(text(&output.stderr), "error: the argument \"\\xFF.toml\" is not UTF-8\n");
        assert_eq!(output.status.code(), Some(2));
    }
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
    for (model, message) in [
        (
            "[\"Linear(2, 8)\", \"ReLU\", \"Linear(9, 2)\"]",
            "matmul: inner sizes differ: [1, 8] × [9, 2]; 8 ≠ 9\n  in  layers.2 (Linear 9→2)\n  try flatten to [1, 9], or \
             Linear::new(8, 2)",
        ),
        ("[\"LayerNorm(3)\"]", "layer_norm: the last axes of [1, 2] are not [3]\n  in  layers.0 (LayerNorm [3])"),
        (
            "[\"ReLU\", \"Dropout(2)\"]",
            "dropout: the probability is 2\n  in  layers.1 (Dropout)\n  try a number from 0 to 1",
        ),
    ] {
        let message = format!("error: the model does not fit rows of 2 features\n  {message}");
        place.fails(&["train", "xor", "--model", model], 1, &message);
    }
    let wrong_end = "error: the model gives [1, 3] for 1 rows, not [1, 2]: a number for each class\n  try a last layer with 2 outputs";
    place.fails(&["train", "xor", "--quiet", "--model", "[\"Linear(2, 3)\"]"], 1, wrong_end);
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
fn a_folder_that_can_not_be_made_is_named_before_anything_is_trained() {
    let place = Place::new("folder");
    place.write("file", "text");
    let message = "error: file/run: can not make it: a part of its path is a file, not a folder\n  check the path";
    place.fails(&["train", "digits", "--out", "file/run"], 1, message);
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

#[test]
fn a_model_file_of_another_architecture_is_refused_name_by_name() {
    let place = Place::new("names");
    place.ok(&["train", "xor", "--epochs", "2", "--quiet"]);
    let file = text(&place.read("runs/xor/run.toml"));
    let model = place.read("runs/xor/model.safetensors");
    let cut = &model[..model.len() - 3];
    for (layers, bytes, message) in [
        (
            "[\"Linear(2, 9)\", \"Tanh\", \"Linear(9, 2)\"]",
            &model[..],
            "error: runs/xor/model.safetensors: the weights of another model than that of run.toml\n  wrong shape: layers.0.weight is [9, 2] in the model, [8, 2] in the state\n  wrong shape: layers.0.bias is [9] in the model, [8] in the state\n  wrong shape: layers.2.weight is [2, 9] in the model, [2, 8] in the state\n  try the model.safetensors of this run, or the `model` that it was trained with",
        ),
        (
            "[\"Linear(2, 8)\", \"Tanh\", \"Linear(8, 8)\", \"Tanh\", \"Linear(8, 2)\"]",
            &model,
            "error: runs/xor/model.safetensors: the weights of another model than that of run.toml\n  missing: layers.4.weight, layers.4.bias\n  wrong shape: layers.2.weight is [8, 8] in the model, [2, 8] in the state\n  wrong shape: layers.2.bias is [8] in the model, [2] in the state\n  try the model.safetensors of this run, or the `model` that it was trained with",
        ),
        (
            "[\"Linear(2, 2)\"]",
            &model,
            "error: runs/xor/model.safetensors: the weights of another model than that of run.toml\n  unexpected: layers.2.bias, layers.2.weight\n  wrong shape: layers.0.weight is [2, 2] in the model, [8, 2] in the state\n  wrong shape: layers.0.bias is [2] in the model, [8] in the state\n  try the model.safetensors of this run, or the `model` that it was trained with",
        ),
        (
            "[\"Linear(2, 8)\", \"Tanh\", \"Linear(8, 2)\"]",
            cut,
            "error: runs/xor/model.safetensors: the tensor ends at 168, the data at 165\n  at byte 520, tensor \"layers.2.weight\"\n  the file is damaged or is no safetensors file; get it again, or save it again",
        ),
        (
            "[\"Linear(2, 8)\", \"Tanh\", \"Linear(8, 2)\"]",
            b"",
            "error: runs/xor/model.safetensors: header length should have 8 bytes, 0 are there\n  at byte 0, header length\n  the file is damaged or is no safetensors file; get it again, or save it again",
        ),
    ] {
        let line = file.lines().find(|line| line.starts_with("model = ")).unwrap();
        place.write("runs/xor/run.toml", file.replace(line, &format!("model = {layers}")));
        place.write("runs/xor/model.safetensors", bytes);
        place.fails(&["eval", "runs/xor"], 1, message);
        place.fails(&["predict", "runs/xor", "none.csv"], 1, message);
    }
    place.write("runs/xor/run.toml", &file);
    let wider = "[\"Linear(64, 8)\", \"Tanh\", \"Linear(8, 2)\", \"Tanh\", \"Linear(2, 10)\"]";
    place.ok(&["train", "digits", "--model", wider, "--epochs", "1", "--quiet"]);
    place.write("runs/xor/model.safetensors", place.read("runs/digits/model.safetensors"));
    place.fails(&["eval", "runs/xor"], 1, "error: runs/xor/model.safetensors: the weights of another model than that of run.toml\n  unexpected: layers.4.bias, layers.4.weight, scale.mean, scale.std\n  wrong shape: layers.0.weight is [8, 2] in the model, [8, 64] in the state\n  try the model.safetensors of this run, or the `model` that it was trained with");
    place.write("runs/digits/model.safetensors", &model);
    place.fails(&["eval", "runs/digits"], 1, "error: runs/digits/model.safetensors: the weights of another model than that of run.toml\n  missing: scale.mean, scale.std, layers.4.weight, layers.4.bias\n  wrong shape: layers.0.weight is [8, 64] in the model, [8, 2] in the state\n  try the model.safetensors of this run, or the `model` that it was trained with");
    place.fails(
        &["eval", "runs"],
        1,
        "error: runs: there is no run: no run.toml\n  try the folder that `limpid train` made: runs/NAME",
    );
    fs::remove_file(place.0.join("runs/xor/model.safetensors")).unwrap();
    place.fails(
        &["eval", "runs/xor"],
        1,
        "error: runs/xor/model.safetensors: there is no model yet\n  try limpid resume runs/xor",
    );
}

#[test]
fn a_run_that_can_not_go_on_says_why_and_changes_nothing() {
    let place = Place::new("resume");
    place.ok(&["train", "xor", "--epochs", "2", "--quiet"]);
    let (file, metrics) = (place.read("runs/xor/run.toml"), place.read("runs/xor/metrics.jsonl"));
    let optimizer = "runs/xor/checkpoints/00000002/optimizer.safetensors";
    let bytes = place.read(optimizer);
    place.write(optimizer, &bytes[..bytes.len() - 1]);
    let args = ["resume", "runs/xor", "--epochs", "5"];
    place.fails(&args, 1, "error: runs/xor/checkpoints/00000002/optimizer.safetensors: the tensor ends at 440, the data at 439\n  at byte 2072, tensor \"state.layers.2.weight.exp_avg_sq\"\n  the file is damaged or is no safetensors file; get it again, or save it again");
    fs::remove_dir_all(place.0.join("runs/xor/checkpoints")).unwrap();
    place.fails(
        &args,
        1,
        "error: runs/xor: there is no checkpoint to resume from\n  try a folder that `limpid train` has written",
    );
    assert_eq!(place.read("runs/xor/run.toml"), file);
    assert_eq!(place.read("runs/xor/metrics.jsonl"), metrics);
    place.fails(
        &["resume", "runs/none"],
        1,
        "error: runs/none: there is no run: no run.toml\n  try the folder that `limpid train` made: runs/NAME",
    );
}

#[test]
fn with_json_an_error_is_an_event_too() {
    let place = Place::new("json");
    for (args, code) in [
        (&["train", "digits", "--json", "--epoch", "3"][..], 2),
        (&["train", "none.toml", "--json"], 2),
        (&["train", "digits", "--json", "--batch", "2000"], 1),
        (&["train", "digits", "--json", "--optimizer.lr", "1e25"], 1),
        (&["eval", "runs/none", "--json"], 1),
        (&["predict", "runs/none", "--json"], 1),
        (&["bench", "--json", "--only", "none"], 2),
    ] {
        let output = place.run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        let event = last_line(&text(&output.stdout));
        assert_eq!(event["event"], "error", "{args:?}: {event}");
        let message = event["message"].as_str().unwrap();
        assert_eq!(text(&output.stderr), format!("error: {message}\n"), "{args:?}");
    }
    let output = place.run(&["train", "digits", "--batch", "2000"]);
    assert_eq!(text(&output.stdout), "", "without --json nothing is said to programs");
}
