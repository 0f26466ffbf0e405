//! What a setting is: its kind, how its text is read, and how its value is written back.

use crate::client::ClientKind;

/// A row of the table of settings.
pub struct Setting {
    pub name: &'static str,
    /// The name it had in older versions of Redis.
    pub alias: Option<&'static str>,
    pub kind: Kind,
    pub default: &'static str,
    pub change: Change,
    pub role: Role,
    pub doc: &'static str,
}

/// When a setting may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    AtRunTime,
    AtStart,
    /// At run time, if `enable-protected-configs` allows it.
    Protected,
}

/// What a setting does here.
#[derive(Clone, Copy)]
pub enum Role {
    /// Read where it is needed.
    Read,
    /// Handed to the part that keeps a copy of its own; the text says what went wrong.
    Applied(fn(&crate::server::Server, &Value) -> Result<(), String>),
    /// Accepted so that files written for Redis work; why it does nothing is in the documentation.
    Irrelevant,
}

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Bool,
    Int {
        min: i64,
        max: i64,
    },
    /// Bytes, with the units of Redis: `k` is a thousand, `kb` is 1024, and so on.
    Memory {
        min: u64,
        max: u64,
    },
    /// Bytes, or a share of `maxmemory` as `N%`.
    MemoryOrPercent,
    /// File permissions.
    Octal,
    Enum(&'static [&'static str]),
    Text,
    /// Text that CONFIG GET shows and logs never do.
    Secret,
    /// Several words, as one line.
    Words,
    /// Several of these names; shown in this order.
    Names(&'static [&'static str]),
    /// A host and a port, or `no one`.
    HostPort,
    /// Seconds and changes, in pairs.
    Save,
    /// Class, hard limit, soft limit, seconds, in fours.
    OutputLimits,
    /// Percentiles between 0 and 100.
    Percentiles,
    /// Letters of `notify-keyspace-events`.
    EventClasses,
    /// Modules and levels, as `log-filter` has them.
    LogLevels,
}

/// A value that has been read.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Bytes(u64),
    Percent(u64),
    Text(String),
    OutputLimits(OutputLimits),
    Percentiles(Vec<f64>),
}

/// `client-output-buffer-limit`: zero means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    pub hard_bytes: u64,
    pub soft_bytes: u64,
    pub soft_seconds: u64,
}

/// The limits of all classes of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimits {
    pub normal: OutputLimit,
    pub replica: OutputLimit,
    pub pubsub: OutputLimit,
}

impl OutputLimits {
    pub fn of(&self, kind: ClientKind) -> OutputLimit {
        match kind {
            ClientKind::Normal => self.normal,
            ClientKind::PubSub => self.pubsub,
        }
    }
}

impl Kind {
    /// Reads the words of a directive. The error says what is allowed, in Redis's words.
    pub fn read(self, words: &[String], present: &Value) -> Result<Value, String> {
        let word = || match words {
            [word] => Ok(word.as_str()),
            _ => Err("wrong number of arguments".to_owned()),
        };
        match self {
            Kind::Bool => match word()?.to_ascii_lowercase().as_str() {
                "yes" => Ok(Value::Bool(true)),
                "no" => Ok(Value::Bool(false)),
                _ => Err("argument must be 'yes' or 'no'".into()),
            },
            Kind::Int { min, max } => {
                let number: i64 = word()?.parse().map_err(|_| "argument couldn't be parsed into an integer")?;
                if !(min..=max).contains(&number) {
                    return Err(format!("argument must be between {min} and {max} inclusive"));
                }
                Ok(Value::Int(number))
            }
            Kind::Memory { min, max } => {
                let bytes = memory(word()?).ok_or("argument must be a memory value")?;
                if !(min..=max).contains(&bytes) {
                    return Err(format!("argument must be between {min} and {max} inclusive"));
                }
                Ok(Value::Bytes(bytes))
            }
            Kind::MemoryOrPercent => read_memory_or_percent(word()?),
            Kind::Octal => match i64::from_str_radix(word()?, 8) {
                Ok(mode @ 0..=0o777) => Ok(Value::Int(mode)),
                _ => Err("argument couldn't be parsed into an integer".into()),
            },
            Kind::Enum(names) => {
                let word = word()?;
                let chosen = names.iter().find(|name| name.eq_ignore_ascii_case(word));
                let all = || format!("argument(s) must be one of the following: {}", names.join(", "));
                chosen.map(|name| Value::Text((*name).to_owned())).ok_or_else(all)
            }
            Kind::Text | Kind::Secret => Ok(Value::Text(word()?.to_owned())),
            Kind::Words => Ok(Value::Text(words.join(" "))),
            Kind::LogLevels => read_log_levels(words),
            Kind::Names(names) => read_names(words, names),
            Kind::HostPort => read_host_port(words),
            Kind::Save => read_save(words),
            Kind::OutputLimits => read_output_limits(words, present),
            Kind::Percentiles => read_percentiles(words),
            Kind::EventClasses => {
                let letters = word()?;
                let canonical = crate::notify::canonical(letters);
                canonical.map(Value::Text).ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into())
            }
        }
    }

    /// Whether one argument of CONFIG SET holds several words.
    pub fn takes_words(self) -> bool {
        matches!(
            self,
            Kind::Words
                | Kind::Names(_)
                | Kind::HostPort
                | Kind::Save
                | Kind::OutputLimits
                | Kind::Percentiles
                | Kind::LogLevels
        )
    }
}

impl Value {
    /// The text that CONFIG GET shows.
    pub fn text(&self, kind: Kind) -> String {
        match self {
            Value::Bool(true) => "yes".into(),
            Value::Bool(false) => "no".into(),
            Value::Int(mode) if kind == Kind::Octal => format!("{mode:o}"),
            Value::Int(number) => number.to_string(),
            Value::Bytes(bytes) => bytes.to_string(),
            Value::Percent(percent) => format!("{percent}%"),
            Value::Text(text) => text.clone(),
            Value::OutputLimits(limits) => {
                let class = |name: &str, limit: OutputLimit| {
                    format!("{name} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
                };
                [class("normal", limits.normal), class("slave", limits.replica), class("pubsub", limits.pubsub)]
                    .join(" ")
            }
            Value::Percentiles(percentiles) => percentiles.iter().map(f64::to_string).collect::<Vec<_>>().join(" "),
        }
    }
}

/// Reads a number of bytes with an optional unit.
pub fn memory(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 8] = [
        ("kb", 1 << 10),
        ("mb", 1 << 20),
        ("gb", 1 << 30),
        ("k", 1000),
        ("m", 1_000_000),
        ("g", 1_000_000_000),
        ("b", 1),
        ("", 1),
    ];
    let lower = text.to_ascii_lowercase();
    let digits = lower.len() - lower.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (number, unit) = lower.split_at(digits);
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn read_memory_or_percent(text: &str) -> Result<Value, String> {
    if let Some(number) = text.strip_suffix('%') {
        let percent = number.parse().map_err(|_| "argument must be a memory or percent value".to_owned())?;
        if percent > 100 {
            return Err("percentage argument must be less or equal to 100".into());
        }
        return Ok(Value::Percent(percent));
    }
    memory(text).map(Value::Bytes).ok_or_else(|| "argument must be a memory or percent value".into())
}

fn read_names(words: &[String], names: &[&str]) -> Result<Value, String> {
    let is_known = |word: &String| names.iter().any(|name| name.eq_ignore_ascii_case(word));
    if words.is_empty() || !words.iter().all(is_known) {
        return Err(format!("argument(s) must be one of the following: {}", names.join(", ")));
    }
    let is_named = |name: &&&str| words.iter().any(|word| word.eq_ignore_ascii_case(name));
    Ok(Value::Text(names.iter().filter(is_named).copied().collect::<Vec<_>>().join(" ")))
}

fn read_host_port(words: &[String]) -> Result<Value, String> {
    match words {
        [only] if only.is_empty() => Ok(Value::Text(String::new())),
        [no, one] if no.eq_ignore_ascii_case("no") && one.eq_ignore_ascii_case("one") => Ok(Value::Text(String::new())),
        [host, port] => match port.parse::<u16>() {
            Ok(_) => Ok(Value::Text(format!("{host} {port}"))),
            Err(_) => Err("Invalid master port".into()),
        },
        _ => Err("wrong number of arguments".into()),
    }
}

fn read_save(words: &[String]) -> Result<Value, String> {
    if let [only] = words
        && only.is_empty()
    {
        return Ok(Value::Text(String::new()));
    }
    let numbers: Option<Vec<u64>> = words.iter().map(|word| word.parse().ok()).collect();
    match numbers {
        Some(numbers) if numbers.len().is_multiple_of(2) && numbers.chunks(2).all(|pair| pair[0] >= 1) => {
            Ok(Value::Text(words.join(" ")))
        }
        _ => Err("Invalid save parameters".into()),
    }
}

/// Classes that are not named keep their limits.
fn read_output_limits(words: &[String], present: &Value) -> Result<Value, String> {
    let mut limits = match present {
        Value::OutputLimits(limits) => *limits,
        _ => OutputLimits::default(),
    };
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    for limit in words.chunks(4) {
        let class = match limit[0].to_ascii_lowercase().as_str() {
            "normal" => &mut limits.normal,
            "slave" | "replica" => &mut limits.replica,
            "pubsub" => &mut limits.pubsub,
            _ => return Err("Invalid client class specified in buffer limit configuration.".into()),
        };
        let bad = || "Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_owned();
        *class = OutputLimit {
            hard_bytes: memory(&limit[1]).ok_or_else(bad)?,
            soft_bytes: memory(&limit[2]).ok_or_else(bad)?,
            soft_seconds: limit[3].parse().map_err(|_| bad())?,
        };
    }
    Ok(Value::OutputLimits(limits))
}

fn read_log_levels(words: &[String]) -> Result<Value, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
    words.iter().try_for_each(|word| crate::log::module(word).map(drop))?;
    Ok(Value::Text(words.join(" ")))
}

fn read_percentiles(words: &[String]) -> Result<Value, String> {
    if let [only] = words
        && only.is_empty()
    {
        return Ok(Value::Percentiles(Vec::new()));
    }
    let read = |word: &String| word.parse::<f64>().ok().filter(|number| (0.0..=100.0).contains(number));
    let all: Option<Vec<f64>> = words.iter().map(read).collect();
    all.map(Value::Percentiles)
        .ok_or_else(|| "latency-tracking-info-percentiles should contain a numeric value between 0.0 and 100.0".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_units() {
        for (text, bytes) in [("100", 100), ("1k", 1000), ("1kb", 1024), ("2MB", 2 << 20), ("1Gb", 1 << 30), ("5b", 5)]
        {
            assert_eq!(memory(text), Some(bytes), "{text}");
        }
        for text in ["", "-1", "1x", "kb1", "1 mb", "99999999999999999999"] {
            assert_eq!(memory(text).filter(|_| !text.is_empty()), None, "{text}");
        }
    }

    #[test]
    fn output_limits_of_other_classes_stay() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let none = Value::Bool(false);
        let first = Kind::OutputLimits.read(&words("pubsub 32mb 8mb 60"), &none).expect("a valid limit");
        let second = Kind::OutputLimits.read(&words("normal 1 2 3"), &first).expect("a valid limit");
        assert_eq!(second.text(Kind::OutputLimits), "normal 1 2 3 slave 0 0 0 pubsub 33554432 8388608 60");
    }
}
