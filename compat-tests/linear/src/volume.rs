//! A small volume in memory for the data of one server, so that it can be full. Only root can mount one.

use std::fs::{File, create_dir_all, remove_file};
use std::io::{Error, ErrorKind, Result, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub const VOLUME_BYTES: u64 = 256 << 20;

const CHUNK_BYTES: usize = 64 << 10;

/// A volume that is mounted as long as this lives.
pub struct Volume {
    directory: PathBuf,
}

impl Volume {
    /// On a directory, which is made.
    pub fn mount(directory: &Path) -> Result<Volume> {
        create_dir_all(directory)?;
        let size = format!("size={VOLUME_BYTES}");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory))?;
        Ok(Volume { directory: directory.into() })
    }

    /// Takes all room but so much. Who lives here writes meanwhile, so it is a little more or less.
    pub fn fill_but_for(&self, rest: u64) -> Result<()> {
        let mut ballast = File::create(self.ballast())?;
        let chunk = [1; CHUNK_BYTES];
        loop {
            let excess = self.free()?.saturating_sub(rest);
            let chunks = excess / CHUNK_BYTES as u64;
            if chunks == 0 {
                return Ok(());
            }
            for _ in 0..chunks.div_ceil(2) {
                match ballast.write_all(&chunk) {
                    Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                    result => result?,
                }
            }
        }
    }

    /// Gives back what was taken.
    pub fn give_back(&self) -> Result<()> {
        remove_file(self.ballast())
    }

    fn ballast(&self) -> PathBuf {
        self.directory.join("ballast")
    }

    /// Bytes that are free: the standard library does not say.
    fn free(&self) -> Result<u64> {
        let output = run(Command::new("stat").args(["-f", "-c", "%a %S"]).arg(&self.directory))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers: Option<Vec<u64>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
        match numbers.as_deref() {
            Some([blocks, size]) => Ok(blocks * size),
            _ => Err(Error::other(format!("stat says {text:?}"))),
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Whoever has files open there is about to end.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.directory));
    }
}

fn run(command: &mut Command) -> Result<Output> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output);
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::other(format!("{}: {why}", command.get_program().display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_and_given_back() {
        let directory = std::env::temp_dir().join(format!("basalt-linear-volume-{}", std::process::id()));
        let Ok(volume) = Volume::mount(&directory) else {
            // Only root can: then there are no runs with small volumes either.
            let _ = std::fs::remove_dir(&directory);
            return;
        };
        volume.fill_but_for(1 << 20).expect("room to take");
        let left = volume.free().expect("what is left");
        assert!(((1 << 20)..(1 << 20) + CHUNK_BYTES as u64).contains(&left), "{left}");
        volume.give_back().expect("room to give back");
        assert_eq!(volume.free().expect("what is left"), VOLUME_BYTES);
        drop(volume);
        std::fs::remove_dir(&directory).expect("nothing is left");
    }
}
