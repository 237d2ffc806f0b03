//! The runs that have a name of their own, as run files.

/// The run file of a built-in name.
pub fn run_file(name: &str) -> Option<&'static str> {
    RUNS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Name and run file of each.
pub const RUNS: [(&str, &str); 6] =
    [("digits", DIGITS), ("xor", XOR), ("spiral", SPIRAL), ("moons", MOONS), ("circles", CIRCLES), ("mnist", MNIST)];

const DIGITS: &str = r#"
name = "digits"
epochs = 60
batch = 64
model = ["Linear(64, 512)", "ReLU", "Linear(512, 10)"]
data = { name = "digits", test = 0.2, validation = 0.1, scale = "divisor", divisor = 16.0 }
loss = { name = "CrossEntropyLoss", label_smoothing = 0.1 }
optimizer = { name = "AdamW", lr = 6e-3, weight_decay = 1e-2 }
schedule = { name = "CosineAnnealingLR" }
"#;

const XOR: &str = r#"
name = "xor"
epochs = 500
batch = 4
model = ["Linear(2, 8)", "Tanh", "Linear(8, 2)"]
data = { name = "xor", test = 0.0, validation = 0.0 }
loss = { name = "CrossEntropyLoss" }
optimizer = { name = "Adam", lr = 0.05 }
"#;

const SPIRAL: &str = r#"
name = "spiral"
epochs = 100
batch = 32
model = ["Linear(2, 64)", "ReLU", "Linear(64, 64)", "ReLU", "Linear(64, 3)"]
data = { name = "spiral", points = 900, arms = 3, noise = 0.03, test = 0.2, validation = 0.1 }
loss = { name = "CrossEntropyLoss" }
optimizer = { name = "AdamW", lr = 1e-2, weight_decay = 1e-4 }
schedule = { name = "CosineAnnealingLR" }
"#;

const MOONS: &str = r#"
name = "moons"
epochs = 60
batch = 32
model = ["Linear(2, 32)", "ReLU", "Linear(32, 32)", "ReLU", "Linear(32, 2)"]
data = { name = "moons", points = 600, noise = 0.1, test = 0.2, validation = 0.1 }
loss = { name = "CrossEntropyLoss" }
optimizer = { name = "AdamW", lr = 1e-2, weight_decay = 1e-4 }
schedule = { name = "CosineAnnealingLR" }
"#;

const CIRCLES: &str = r#"
name = "circles"
epochs = 60
batch = 32
model = ["Linear(2, 32)", "ReLU", "Linear(32, 32)", "ReLU", "Linear(32, 2)"]
data = { name = "circles", points = 600, noise = 0.05, test = 0.2, validation = 0.1 }
loss = { name = "CrossEntropyLoss" }
optimizer = { name = "AdamW", lr = 1e-2, weight_decay = 1e-4 }
schedule = { name = "CosineAnnealingLR" }
"#;

// Nothing is chosen on the test part, and no row is taken from the training part: the last epoch is it.
const MNIST: &str = r#"
name = "mnist"
epochs = 5
batch = 128
model = ["Linear(784, 512)", "ReLU", "Linear(512, 512)", "ReLU", "Linear(512, 10)"]
data = { name = "mnist", validation = 0.0 }
loss = { name = "CrossEntropyLoss" }
optimizer = { name = "AdamW", lr = 1e-3, weight_decay = 1e-2 }
schedule = { name = "CosineAnnealingLR" }
"#;

/// What `limpid new NAME` writes.
pub fn template(name: &str) -> String {
    format!(
        r#"# A run of Limpid: `limpid train {name}.toml` trains it. Words are torch's; lines that are left out have
# their defaults. Every value can be given on the command line as well: --epochs 3 --optimizer.lr 1e-3

name = "{name}"                  # the run folder is runs/{name}
seed = 0                         # of the first weights, the splits and the order of rows
epochs = 60
batch = 64                       # rows of a step
checkpoint_every = 10.0          # seconds

# Linear(in, out), ReLU, GELU, SiLU, Sigmoid, Tanh, LeakyReLU(slope), Dropout(p), LayerNorm(size), Identity
model = ["Linear(64, 512)", "ReLU", "Linear(512, 10)"]

[data]
name = "digits"                  # digits, xor, spiral, moons, circles; mnist with path; csv with path and target
# path = "table.csv"             # a CSV file with a header, or the folder of MNIST's files
# target = "label"               # the column that is learned
# task = "auto"                  # of a csv: auto, classification, regression
test = 0.2                       # the part of the rows that is measured once, at the end
validation = 0.1                 # the part of the training rows that chooses the epoch
scale = "divisor"                # none, standard (mean 0 and deviation 1, learned on the training rows), divisor
divisor = 16.0

[loss]
name = "CrossEntropyLoss"        # CrossEntropyLoss, BCEWithLogitsLoss, MSELoss, L1Loss, SmoothL1Loss
label_smoothing = 0.1

[optimizer]
name = "AdamW"                   # AdamW, Adam, SGD
lr = 6e-3
weight_decay = 1e-2
# clip_norm = 1.0                # the largest norm of all gradients together

[schedule]
name = "CosineAnnealingLR"       # Constant, StepLR, CosineAnnealingLR
warmup = 0.0                     # epochs in which the rate grows from almost 0
"#
    )
}

#[cfg(test)]
mod tests {
    use super::{RUNS, template};
    use crate::config::{Config, WORDS};
    use crate::settings::Settings;

    #[test]
    fn every_run_file_resolves_and_says_the_same_when_it_is_written_again() {
        let mine = template("mine");
        for (name, text) in RUNS.into_iter().chain([("mine", mine.as_str())]) {
            let mut settings = Settings::parse(name, text, &WORDS).unwrap();
            if name == "mnist" {
                settings.set("data.path", "folder", &WORDS).unwrap();
            }
            let config = Config::resolve(&settings).unwrap();
            assert_eq!(config.name, name);
            let again = Settings::parse(name, &config.to_toml(), &WORDS).unwrap();
            assert_eq!(Config::resolve(&again).unwrap(), config, "{name}");
        }
    }
}
