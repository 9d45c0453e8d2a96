//! Both ends at once: a server in a process of its own on one processor, the client in this one on
//! another.
//!
//! Engines take turns, round after round (A B C, A B C), so that what disturbs the machine for a
//! while disturbs all of them; each figure is the median of its rounds. A server is started for
//! each turn, and ends with the pipe to this process: whatever ends us ends it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::EchoEngine;
use super::client::{self, Load};
use crate::Error;
use crate::baselines::{Counters, Counts};
use crate::interrupt::Interrupt;
use crate::machine;
use crate::rusage::Rusage;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whom.
    pub engines: Vec<EchoEngine>,
    /// With what; the address is that of each server.
    pub load: Load,
    /// How many rounds.
    pub rounds: usize,
    /// This program, to be started as a server.
    pub program: PathBuf,
    /// The processors of server and client; the first two that there are, if not given.
    pub processors: Option<(usize, usize)>,
}

/// What a server has used and counted until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Used.
    pub rusage: Rusage,
    /// Counted.
    pub counts: Counts,
}

/// One engine in one round.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Who.
    pub engine: EchoEngine,
    /// Counted from 0.
    pub round: usize,
    /// What the client saw.
    pub outcome: client::Outcome,
    /// What the server used and counted meanwhile. `None` if it was gone at the end.
    pub server: Option<Sample>,
    /// Why it does not count, if it does not.
    pub failure: Option<String>,
}

/// All rounds.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// In the order measured, failed ones included.
    pub cells: Vec<Cell>,
    /// The processors of server and client; `None` if there is only one.
    pub processors: Option<(usize, usize)>,
    /// It ended before its time.
    pub interrupted: bool,
}

impl Outcome {
    /// Cells that failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        let failed = self.cells.iter().filter(|cell| cell.failure.is_some());
        failed.count() as u64
    }
}

/// Measures all rounds. A server that fails costs its cell only. `begun` is told how many cells were
/// before one that begins, and its name.
///
/// # Errors
/// [`Error::Start`] if this process cannot be set up.
///
/// # Blocking
/// For the whole time.
pub fn run(
    options: &Options,
    interrupt: &Interrupt,
    begun: &mut dyn FnMut(usize, &str),
) -> Result<Outcome, Error> {
    let first_two = || match machine::processors()[..] {
        [server, client, ..] => Some((server, client)),
        _ => None,
    };
    let processors = options.processors.or_else(first_two);
    if let Some((_, client)) = processors {
        machine::run_on(client)?;
    }
    let mut outcome = Outcome {
        cells: Vec::new(),
        processors,
        interrupted: false,
    };
    for round in 0..options.rounds {
        for engine in &options.engines {
            if interrupt.is_set() {
                outcome.interrupted = true;
                return Ok(outcome);
            }
            let name = format!("{engine}, round {}/{}", round + 1, options.rounds);
            begun(outcome.cells.len(), &name);
            let cell = measure(options, *engine, round, processors, interrupt);
            outcome.cells.push(cell);
        }
    }
    outcome.interrupted = interrupt.is_set();
    Ok(outcome)
}

fn measure(
    options: &Options,
    engine: EchoEngine,
    round: usize,
    processors: Option<(usize, usize)>,
    interrupt: &Interrupt,
) -> Cell {
    let mut cell = Cell {
        engine,
        round,
        outcome: client::Outcome::default(),
        server: None,
        failure: None,
    };
    if let Err(error) = fill(&mut cell, options, processors, interrupt) {
        cell.failure = Some(error.to_string());
    }
    if interrupt.is_set() {
        let seconds = cell.outcome.seconds;
        cell.failure = Some(format!("interrupted after {seconds:.1} s"));
    }
    cell
}

fn fill(
    cell: &mut Cell,
    options: &Options,
    processors: Option<(usize, usize)>,
    interrupt: &Interrupt,
) -> Result<(), Error> {
    let mut server = Server::start(&options.program, cell.engine, processors.map(|pair| pair.0))?;
    let load = Load {
        address: server.address,
        ..options.load.clone()
    };
    let mut samples = Vec::new();
    let ran = client::run(&load, interrupt, || {
        let sample = server.sample();
        samples.push(sample.map_err(|error| Error::Run(format!("the server is gone: {error}")))?);
        Ok(())
    });
    let (ended, said) = server.end();
    if let [start, end] = samples[..] {
        cell.server = Some(end.since(&start));
    }
    let lost = ran.map(|outcome| {
        cell.outcome = outcome;
        cell.outcome.summary.first_error.clone()
    });
    // Why it ended says more than that a connection was lost.
    let why = match (ended, lost) {
        (Err(why), _) => format!("the server ended: {why}"),
        (Ok(()), Err(error)) => error.to_string(),
        (Ok(()), Ok(Some(lost))) => lost,
        (Ok(()), Ok(None)) => {
            if !said.is_empty() {
                eprintln!("ambidex-bench: {}: {said}", cell.engine);
            }
            return Ok(());
        }
    };
    Err(Error::Run(with_words(why, &said)))
}

/// `why`, and what the server `said` about it.
fn with_words(why: String, said: &str) -> String {
    if said.is_empty() {
        return why;
    }
    format!("{why}; it said: {said}")
}

/// A server in a process of its own.
struct Server {
    child: Child,
    /// Its end is the server's.
    control: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Its standard error: a file, which takes any amount without being read.
    words: File,
    address: SocketAddr,
}

impl Server {
    fn start(program: &Path, engine: EchoEngine, cpu: Option<usize>) -> Result<Server, Error> {
        let failed = |why: String| Error::Run(format!("the server cannot be started: {why}"));
        let spawned = Server::spawn(program, engine, cpu);
        let mut server = spawned.map_err(|error| failed(error.to_string()))?;
        match server.greeting() {
            Ok(address) => server.address = address,
            Err(why) => {
                let (ended, said) = server.end();
                return Err(failed(with_words(ended.err().unwrap_or(why), &said)));
            }
        }
        Ok(server)
    }

    fn spawn(program: &Path, engine: EchoEngine, cpu: Option<usize>) -> io::Result<Server> {
        let mut command = Command::new(program);
        command.args(["echo-server", "--control", "--listen", "127.0.0.1:0"]);
        command.args(["--engine", &engine.name()]);
        if let Some(cpu) = cpu {
            command.args(["--cpu", &cpu.to_string()]);
        }
        let words = tempfile::tempfile()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(words.try_clone()?);
        // A group of its own: Ctrl-C is for us, who then end it.
        let mut child = command.process_group(0).spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (control, answers) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Server {
            child,
            control: Some(control),
            answers: BufReader::new(answers),
            words,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
        })
    }

    /// Where it says that it listens.
    fn greeting(&mut self) -> Result<SocketAddr, String> {
        let line = self.line().map_err(|error| error.to_string())?;
        let address = line.strip_prefix("listening on ").map(str::parse);
        match address {
            Some(Ok(address)) => Ok(address),
            _ => Err(format!("it says {line:?}")),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(io::Error::other("it has ended"));
        }
        Ok(line.trim_end().to_owned())
    }

    fn sample(&mut self) -> io::Result<Sample> {
        let Some(control) = &mut self.control else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        control.write_all(b"\n")?;
        let line = self.line()?;
        let value: Value = serde_json::from_str(&line)?;
        Sample::from_json(&value).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Ends it. Why it had ended before, if it had, and the last of what it said on standard error.
    fn end(mut self) -> (Result<(), String>, String) {
        drop(self.control.take());
        let ended = match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(status.to_string()),
            Err(error) => Err(format!("it cannot be waited for: {error}")),
        };
        let mut said = Vec::new();
        // What cannot be read is not known.
        let _ = self.words.rewind();
        let _ = self.words.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
        (ended, last.unwrap_or_default().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.control.take());
        // Ended long ago, except after a failure in between.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sample {
    /// Of this process, which counts with `counters`.
    #[must_use]
    pub fn now(counters: &Counters) -> Sample {
        Sample {
            rusage: Rusage::now(),
            counts: counters.counts(),
        }
    }

    /// What was used and counted between `earlier` and this.
    #[must_use]
    pub fn since(&self, earlier: &Sample) -> Sample {
        Sample {
            rusage: self.rusage.since(&earlier.rusage),
            counts: self.counts.since(&earlier.counts),
        }
    }

    /// As it goes through the pipe.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (rusage, counts) = (&self.rusage, &self.counts);
        json!({
            "user_us": micros(rusage.user),
            "system_us": micros(rusage.system),
            "voluntary": rusage.voluntary,
            "involuntary": rusage.involuntary,
            "calls": counts.calls,
            "waits": counts.waits,
            "scanned": counts.scanned,
            "events": counts.events,
            "accepted": counts.accepted,
            "refused": counts.refused,
        })
    }

    fn from_json(value: &Value) -> Option<Sample> {
        let number = |name: &str| value.get(name)?.as_u64();
        Some(Sample {
            rusage: Rusage {
                user: Duration::from_micros(number("user_us")?),
                system: Duration::from_micros(number("system_us")?),
                voluntary: number("voluntary")?,
                involuntary: number("involuntary")?,
                ..Rusage::default()
            },
            counts: Counts {
                calls: number("calls")?,
                waits: number("waits")?,
                scanned: number("scanned")?,
                events: number("events")?,
                accepted: number("accepted")?,
                refused: number("refused")?,
            },
        })
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_goes_through_the_pipe_unchanged() {
        let counters = Counters::default();
        counters.wait(7, 3);
        counters.accept();
        counters.refuse();
        let mut sample = Sample::now(&counters);
        // Page faults do not go along.
        (sample.rusage.majf, sample.rusage.minf) = (0, 0);
        assert_eq!(Sample::from_json(&sample.to_json()), Some(sample));
        assert_eq!(Sample::from_json(&json!({"calls": 1})), None);
    }
}
