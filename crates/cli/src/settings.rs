//! The values of a run file and of the command line, as one list of dotted words.

use std::collections::BTreeMap;
use std::path::Path;

use limpid::{Error, Result};
use toml::de::{DeTable, DeValue};

use crate::folder::system;
use crate::suggest::nearest;

/// A value, before it is known what it should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    Whole(i64),
    Number(f64),
    Flag(bool),
    List(Vec<Value>),
}

impl Value {
    /// As it stands in a run file.
    pub fn to_toml(&self) -> String {
        match self {
            Value::Text(text) => quoted(text),
            Value::Whole(n) => n.to_string(),
            // Debug keeps the point, so that it is read as a float again, and all digits.
            Value::Number(x) => format!("{x:?}"),
            Value::Flag(flag) => flag.to_string(),
            Value::List(items) => {
                format!("[{}]", items.iter().map(Value::to_toml).collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "text",
            Value::Whole(_) => "a whole number",
            Value::Number(_) => "a number",
            Value::Flag(_) => "true or false",
            Value::List(_) => "a list",
        }
    }
}

/// A text in TOML's quotes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out += &format!("\\u{:04X}", u32::from(c)),
            c => out.push(c),
        }
    }
    out + "\""
}

/// Values by dotted word, each with where it was written: `run.toml:7`, or `--optimizer.lr`.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    values: BTreeMap<String, (Value, String)>,
}

impl Settings {
    /// Reads a run file.
    ///
    /// # Errors
    /// What is no TOML, a word that is none of `known` (with the one that was probably meant), dates.
    pub fn read(path: &Path, known: &[&str]) -> Result<Settings> {
        let bytes = std::fs::read(path).map_err(|error| system(path, "read", &error))?;
        let text = String::from_utf8(bytes).map_err(|_| Error::new(format!("{}: it is no text", path.display())))?;
        Settings::parse(&path.display().to_string(), &text, known)
    }

    /// The run file `text`; messages call it `name`.
    pub fn parse(name: &str, text: &str, known: &[&str]) -> Result<Settings> {
        let line = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            Error::new(format!("{name}:{}: {}", line(at), error.message().trim_end()))
        })?;
        let mut settings = Settings::default();
        settings.table(table.get_ref(), "", known, &|at| format!("{name}:{}", line(at)))?;
        Ok(settings)
    }

    fn table(
        &mut self,
        table: &DeTable<'_>,
        prefix: &str,
        known: &[&str],
        place: &dyn Fn(usize) -> String,
    ) -> Result<()> {
        for (key, value) in table {
            let (word, at) = (format!("{prefix}{}", key.get_ref()), place(key.span().start));
            if let DeValue::Table(inner) = value.get_ref()
                && known.iter().any(|known| known.starts_with(&format!("{word}.")))
            {
                self.table(inner, &format!("{word}."), known, place)?;
                continue;
            }
            check_word(&word, known).map_err(|error| placed(&at, &error))?;
            let value = convert(value.get_ref()).ok_or_else(|| {
                Error::new(format!("{at}: `{word}` is a {}, which no word takes", value.get_ref().type_str()))
            })?;
            self.values.insert(word, (value, at));
        }
        Ok(())
    }

    /// Sets a word from the command line: the text is read as in a run file, and is a text where it is nothing else.
    ///
    /// # Errors
    /// A word that is none of `known`.
    pub fn set(&mut self, word: &str, text: &str, known: &[&str]) -> Result<()> {
        check_word(word, known).map_err(|error| placed(&format!("--{word}"), &error))?;
        let value = DeValue::parse(text).ok().and_then(|value| convert(value.get_ref()));
        let value = value.unwrap_or_else(|| Value::Text(text.to_owned()));
        self.values.insert(word.to_owned(), (value, format!("--{word}")));
        Ok(())
    }

    /// Whether the word has a value.
    pub fn has(&self, word: &str) -> bool {
        self.values.contains_key(word)
    }

    /// An error about the value of `word`, with its place.
    pub fn error(&self, word: &str, what: impl std::fmt::Display) -> Error {
        let place = self.values.get(word).map_or_else(|| word.to_owned(), |(_, place)| place.clone());
        Error::new(format!("{place}: {what}"))
    }

    fn get<T>(&self, word: &str, wanted: &str, take: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
        let Some((value, _)) = self.values.get(word) else { return Ok(None) };
        let taken = take(value);
        if taken.is_none() {
            let what = format!("`{word}` is {} ({}), not {wanted}", value.kind(), value.to_toml());
            return Err(self.error(word, what));
        }
        Ok(taken)
    }

    pub fn text(&self, word: &str) -> Result<Option<String>> {
        self.get(word, "text", |value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// A whole number from `least`.
    pub fn whole(&self, word: &str, least: u64) -> Result<Option<u64>> {
        self.get(word, &format!("a whole number from {least}"), |value| match value {
            Value::Whole(n) => u64::try_from(*n).ok().filter(|n| *n >= least),
            _ => None,
        })
    }

    /// A whole number from `least` to `most`.
    pub fn whole_up_to(&self, word: &str, least: u64, most: u64) -> Result<Option<u64>> {
        self.get(word, &format!("a whole number from {least} to {most}"), |value| match value {
            Value::Whole(n) => u64::try_from(*n).ok().filter(|n| (least..=most).contains(n)),
            _ => None,
        })
    }

    /// A text that a folder can be called by.
    pub fn folder_name(&self, word: &str) -> Result<Option<String>> {
        let fits = |text: &str| !["", ".", ".."].contains(&text) && !text.contains(['/', '\\', '\0']);
        self.get(word, "a name for a folder", |value| match value {
            Value::Text(text) if fits(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// A finite number in `range`, which messages call `wanted`.
    pub fn number(&self, word: &str, wanted: &str, range: impl Fn(f64) -> bool) -> Result<Option<f64>> {
        self.get(word, wanted, |value| match value {
            Value::Whole(n) => Some(*n as f64).filter(|x| range(*x)),
            Value::Number(x) => Some(*x).filter(|x| x.is_finite() && range(*x)),
            _ => None,
        })
    }

    pub fn flag(&self, word: &str) -> Result<Option<bool>> {
        self.get(word, "true or false", |value| match value {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A list of texts.
    pub fn texts(&self, word: &str) -> Result<Option<Vec<String>>> {
        self.get(word, "a list of texts", |value| match value {
            Value::List(items) => items
                .iter()
                .map(|item| match item {
                    Value::Text(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            _ => None,
        })
    }

    /// A word out of `words`, spelled as there.
    pub fn choice(&self, word: &str, words: &[&'static str]) -> Result<Option<&'static str>> {
        let Some(text) = self.text(word)? else { return Ok(None) };
        match words.iter().find(|known| **known == text) {
            Some(known) => Ok(Some(known)),
            None => Err(placed_unknown(self.error(word, format!("unknown {word} `{text}`")), &text, words)),
        }
    }
}

fn convert(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(n) => Value::Whole(i64::from_str_radix(n.as_str(), n.radix()).ok()?),
        DeValue::Float(x) => Value::Number(x.as_str().parse().ok()?),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Array(items) => Value::List(items.iter().map(|item| convert(item.get_ref())).collect::<Option<_>>()?),
        DeValue::Datetime(_) | DeValue::Table(_) => return None,
    })
}

/// That `word` is one of `known`.
fn check_word(word: &str, known: &[&str]) -> Result<()> {
    if known.contains(&word) {
        return Ok(());
    }
    Err(placed_unknown(Error::new(format!("unknown word `{word}`")), word, known))
}

/// `error` with the word that was probably meant, else with all words.
pub fn placed_unknown(error: Error, word: &str, known: &[&str]) -> Error {
    // `lr` is meant for `optimizer.lr`: the last part alone may be all that was written.
    let last = |known: &&str| known.rsplit('.').next() == Some(word);
    match nearest(word, known.iter().copied()).or_else(|| known.iter().copied().find(last)) {
        Some(meant) => error.note(format!("did you mean `{meant}`?")),
        None => error.note(format!("known: {}", known.join(", "))),
    }
}

/// `error` behind the place where it is.
fn placed(place: &str, error: &Error) -> Error {
    Error::new(format!("{place}: {error}"))
}
