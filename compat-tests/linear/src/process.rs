//! One server as a process: started in a directory of its own, killed, paused, started again.

use crate::network::Pid;
use crate::target::Disk;
use crate::volume::Volume;
use std::fs::{File, OpenOptions};
use std::io::{Error, Result};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;

/// Below a process's directory: what it prints.
const OUTPUT: &str = "output";
/// Of what it prints, what counts as its last lines.
const LAST_BYTES: usize = 8 << 10;

/// A process that exists, or could be started.
pub struct Process {
    pub address: SocketAddr,
    /// For those who look for it among the processes of the machine.
    pub pid: Pid,
    program: PathBuf,
    args: Vec<String>,
    directory: PathBuf,
    child: Option<Child>,
    /// Where its data is, if it has a volume of its own. Behind the process, since it is unmounted after its end.
    pub volume: Option<Volume>,
}

/// Below a process's directory: what it keeps.
pub const DATA: &str = "data";

impl Process {
    /// It runs in `directory`, which is made, and keeps its data in [`DATA`] there, on the volume that it is given.
    pub fn new(
        address: SocketAddr,
        program: PathBuf,
        args: Vec<String>,
        directory: PathBuf,
        disk: Disk,
    ) -> Result<Process> {
        let data = directory.join(DATA);
        std::fs::create_dir_all(&data)?;
        let volume = match disk {
            Disk::OfMachine => None,
            Disk::Small => Some(Volume::mount(&data)?),
        };
        Ok(Process { address, pid: Pid::default(), program, args, directory, child: None, volume })
    }

    /// Removes all that it has kept; it does not run. The next start is that of another server.
    pub fn wipe(&mut self) -> Result<()> {
        self.kill();
        for entry in std::fs::read_dir(self.directory.join(DATA))? {
            let path = entry?.path();
            if path.is_dir() { std::fs::remove_dir_all(&path)? } else { std::fs::remove_file(&path)? }
        }
        Ok(())
    }

    /// More options, from the next start on.
    pub fn extend_args(&mut self, args: impl IntoIterator<Item = String>) {
        self.args.extend(args);
    }

    /// Starts it, if it does not run. What it prints is kept in the directory.
    pub fn start(&mut self) -> Result<()> {
        if self.child.is_none() {
            let mut command = Command::new(&self.program);
            command.args(&self.args).current_dir(&self.directory).stdin(Stdio::null());
            command.stdout(self.output()?).stderr(self.output()?);
            let child = command.spawn()?;
            self.pid.store(child.id(), Relaxed);
            self.child = Some(child);
        }
        Ok(())
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            self.pid.store(0, Relaxed);
            // It may have ended by itself, which is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it where it stands.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on, if it stands.
    pub fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// Whether it has ended though nobody has killed it.
    pub fn has_died(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Whether it has ended by itself, and has said this in its last lines. Then it may be started again.
    pub fn has_ended_saying(&mut self, words: &str) -> Result<bool> {
        if !self.has_died() {
            return Ok(false);
        }
        let output = std::fs::read(self.directory.join(OUTPUT))?;
        let last = String::from_utf8_lossy(&output[output.len().saturating_sub(LAST_BYTES)..]).into_owned();
        if last.contains(words) {
            self.kill();
        }
        Ok(self.child.is_none())
    }

    /// The standard library can only kill.
    fn signal(&self, name: &str) -> Result<()> {
        let Some(child) = &self.child else { return Ok(()) };
        let status = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(Error::other(format!("kill -{name} has failed"))) }
    }

    fn output(&self) -> Result<File> {
        OpenOptions::new().create(true).append(true).open(self.directory.join(OUTPUT))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
