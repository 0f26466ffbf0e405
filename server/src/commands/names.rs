//! What clients call the commands: their own names, or what `rename-command` made of them.
//!
//! Names are chosen before the first command is looked up, and stay. A command that was renamed keeps its own name in
//! COMMAND, statistics and errors, as in Redis; one that was given the empty name cannot be called at all.

use super::FAMILIES;
use hashbrown::HashMap;
use std::sync::OnceLock;

/// Longest name that a command can be given.
pub const LENGTH_MAX: usize = 1024;

static CHOSEN: OnceLock<Names> = OnceLock::new();

/// The command's own name, by what clients call it; both in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(HashMap<String, &'static str>);

impl Default for Names {
    /// Each command's own name.
    fn default() -> Names {
        let rows = FAMILIES.iter().flat_map(|family| family.iter());
        Names(rows.map(|spec| (spec.name.to_owned(), spec.name)).collect())
    }
}

impl Names {
    /// Gives the command that is called `old` so far the name `new`, or none if that is empty. The error is Redis's.
    pub fn rename(&mut self, old: &str, new: &str) -> Result<(), String> {
        let own = self.0.remove(&old.to_ascii_lowercase()).ok_or("No such command in rename-command")?;
        if new.is_empty() {
            return Ok(());
        }
        if new.len() > LENGTH_MAX {
            return Err(format!("a command's name has at most {LENGTH_MAX} bytes"));
        }
        match self.0.insert(new.to_ascii_lowercase(), own) {
            None => Ok(()),
            Some(_) => Err("Target command name already exists".into()),
        }
    }

    /// By the command's own name, what clients call it.
    pub fn by_own_name(&self) -> HashMap<&'static str, String> {
        self.0.iter().map(|(called, own)| (*own, called.clone())).collect()
    }

    /// Makes these the names of this process's commands.
    pub fn choose(self) {
        assert!(CHOSEN.set(self).is_ok(), "names are chosen once, before the first command is looked up");
    }
}

/// The names that were chosen; from now on they are these.
pub fn chosen() -> &'static Names {
    CHOSEN.get_or_init(Names::default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_belongs_to_one_command() {
        let mut names = Names::default();
        assert_eq!(names.rename("FlushDB", "Badger"), Ok(()));
        assert_eq!(names.rename("flushdb", "other"), Err("No such command in rename-command".into()));
        assert_eq!(names.by_own_name()["flushdb"], "badger");
        assert_eq!(names.rename("badger", ""), Ok(()));
        assert_eq!(names.rename("badger", "x"), Err("No such command in rename-command".into()));
        assert!(!names.by_own_name().contains_key("flushdb"));
        assert_eq!(names.rename("get", "flushdb"), Ok(()), "the name was free");
        assert_eq!(names.rename("ping", "SET"), Err("Target command name already exists".into()));
        assert_eq!(Names::default().by_own_name().len(), Names::default().0.len());
    }
}
