//! What a row works with: a directory, contestants on their processors, and the list of what was seen.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::Mode;
use tempfile::TempDir;

use super::nginx::{Nginx, Setup};
use super::{Cell, Options, Refusal};
use crate::Error;
use crate::cold::write_whole;
use crate::http;
use crate::interrupt::Interrupt;
use crate::load::Measurement;
use crate::machine;
use crate::mixed::Server;
use crate::parse::Url;
use crate::results::Figure;

/// Processor time of the server for each request.
pub(super) const CPU: &str = "server cpu us/request";
/// The same for each KiB that arrived.
pub(super) const CPU_KIB: &str = "server cpu us/KiB";
/// Requests, or connections where each request has one of its own.
pub(super) const RATE: &str = "requests/s";
/// The share of its processor that the client used.
pub(crate) const CLIENT: &str = "client cpu share";

/// A figure by its name.
pub(super) fn figure(name: &str, value: f64) -> Figure {
    Figure {
        name: name.to_owned(),
        value,
    }
}

/// A server that takes part.
pub(super) struct Contestant {
    pub(super) name: String,
    pub(super) url: Url,
    pub(super) pids: Vec<u32>,
    _server: Process,
}

/// Ended when it goes.
enum Process {
    Ours { _server: Server },
    Nginx { _server: Nginx },
}

/// What HTTP clients do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clients {
    pub(super) connections: usize,
    pub(super) keep_alive: bool,
}

/// One row while it is measured.
pub(super) struct Stage<'a> {
    pub(super) options: &'a Options,
    pub(super) interrupt: &'a Interrupt,
    directory: TempDir,
    row: u8,
    /// Cells that have begun, those of rows before this one too.
    pub(super) number: usize,
    begun: &'a mut dyn FnMut(usize, &str),
    cells: Vec<Cell>,
    refusals: Vec<Refusal>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        options: &'a Options,
        interrupt: &'a Interrupt,
        row: u8,
        before: usize,
        begun: &'a mut dyn FnMut(usize, &str),
    ) -> Result<Stage<'a>, Error> {
        let made = tempfile::Builder::new()
            .prefix("ambidex-bench-suite-")
            .tempdir_in(&options.directory);
        let cannot = |error: io::Error| {
            let place = options.directory.display();
            Error::Start(format!("cannot make a directory in {place}: {error}"))
        };
        let directory = made.map_err(cannot)?;
        // A server may have another user.
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::chmod(directory.path(), mode).map_err(|errno| cannot(errno.into()))?;
        Ok(Stage {
            options,
            interrupt,
            directory,
            row,
            number: before,
            begun,
            cells: Vec::new(),
            refusals: Vec::new(),
        })
    }

    /// What was seen. The directory goes.
    pub(super) fn strike(self) -> (Vec<Cell>, Vec<Refusal>) {
        (self.cells, self.refusals)
    }

    /// A directory of this row, made if there is none.
    pub(super) fn directory(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.directory.path().join(name);
        let made = fs::create_dir_all(&path);
        made.map_err(|error| Error::Run(format!("cannot make {}: {error}", path.display())))?;
        Ok(path)
    }

    /// A directory to be served: `index.html` and files of these names and sizes.
    pub(super) fn site(&self, files: &[(String, u64)]) -> Result<PathBuf, Error> {
        self.files("site", files)
    }

    /// The same in a directory of that name. Files that are there already stay.
    pub(super) fn files(&self, name: &str, files: &[(String, u64)]) -> Result<PathBuf, Error> {
        let root = self.directory(name)?;
        let index = ("index.html".to_owned(), 1024);
        for (seed, (name, bytes)) in files.iter().chain([&index]).enumerate() {
            let path = root.join(name);
            if path.exists() {
                continue;
            }
            write_whole(&path, seed as u64, *bytes)
                .map_err(|error| Error::Run(format!("cannot make {}: {error}", path.display())))?;
        }
        Ok(root)
    }

    /// `who` does not take part.
    pub(super) fn refuse(&mut self, who: &str, why: &str) {
        self.refusals.push(Refusal {
            row: self.row,
            who: Some(who.to_owned()),
            why: why.to_owned(),
        });
    }

    /// Tells of cells that begin elsewhere.
    pub(super) fn announce(&mut self) -> impl FnMut(usize, &str) {
        let (row, before) = (self.row, self.number);
        move |number, name| (self.begun)(before + number, &format!("row {row}: {name}"))
    }

    /// Measures a cell, unless somebody wants it to end.
    pub(super) fn turn(
        &mut self,
        who: &str,
        round: usize,
        measure: impl FnOnce(&Stage<'_>) -> Result<Vec<Figure>, Error>,
    ) {
        if self.interrupt.is_set() {
            return;
        }
        let row = self.row;
        (self.begun)(
            self.number,
            &format!("row {row}: {who}, round {}", round + 1),
        );
        let measured = measure(self);
        self.note(who, round, measured);
    }

    /// Keeps what came of a cell.
    pub(super) fn note(&mut self, who: &str, round: usize, seen: Result<Vec<Figure>, Error>) {
        self.number += 1;
        let mut cell = Cell {
            row: self.row,
            who: who.to_owned(),
            round,
            ..Cell::default()
        };
        match seen {
            Ok(figures) => cell.figures = figures,
            Err(error) => cell.failure = Some(error.to_string()),
        }
        if self.interrupt.is_set() {
            cell.failure = Some("interrupted".to_owned());
        }
        self.cells.push(cell);
    }

    /// The server's processor, or none in particular.
    pub(super) fn server_processors(&self) -> Vec<usize> {
        self.options
            .processors
            .iter()
            .map(|one| one.server)
            .collect()
    }

    /// Our server on `root`, on `processors`.
    pub(super) fn ours(
        &self,
        name: &str,
        root: &Path,
        (workers, disk): (usize, &str),
        processors: &[usize],
    ) -> Result<Contestant, Error> {
        let command = Server::command(&self.options.ambidex, root, workers, disk);
        Stage::started(name, command, processors)
    }

    /// The same, with one worker that sends large files by sendfile(2).
    pub(super) fn ours_by_sendfile(&self, name: &str, root: &Path) -> Result<Contestant, Error> {
        let mut command = Server::command(&self.options.ambidex, root, 1, "auto");
        command.arg("--sendfile");
        Stage::started(name, command, &self.server_processors())
    }

    fn started(name: &str, command: Command, processors: &[usize]) -> Result<Contestant, Error> {
        let server = machine::while_on(processors, || Server::run(command))??;
        Ok(Contestant {
            name: name.to_owned(),
            url: server.url().clone(),
            pids: vec![server.pid()],
            _server: Process::Ours { _server: server },
        })
    }

    /// Our server and nginx in each of `setups`, all on the server's processor. Who does not start is
    /// refused.
    pub(super) fn contestants(&mut self, root: &Path, setups: &[Setup]) -> Vec<Contestant> {
        let processors = self.server_processors();
        let ours = self.ours(super::OURS, root, (1, "auto"), &processors);
        let mut started = vec![(super::OURS.to_owned(), ours)];
        for setup in setups {
            started.push((setup.name(), self.nginx(root, *setup, &processors)));
        }
        self.those_that_started(started)
    }

    /// Refuses the others.
    pub(super) fn those_that_started(
        &mut self,
        started: Vec<(String, Result<Contestant, Error>)>,
    ) -> Vec<Contestant> {
        let mut found = Vec::new();
        for (name, started) in started {
            match started {
                Ok(contestant) => found.push(contestant),
                Err(why) => self.refuse(&name, &why.to_string()),
            }
        }
        found
    }

    /// nginx on `root`, on `processors`.
    pub(super) fn nginx(
        &self,
        root: &Path,
        setup: Setup,
        processors: &[usize],
    ) -> Result<Contestant, Error> {
        let own = self.directory(&setup.name().replace(' ', "-"))?;
        let program = &self.options.nginx;
        let start = || Nginx::start(program, &own, root, setup, self.interrupt);
        let server = machine::while_on(processors, start)??;
        Ok(Contestant {
            name: setup.name(),
            url: server.url().clone(),
            pids: server.pids().to_vec(),
            _server: Process::Nginx { _server: server },
        })
    }

    /// One round of clients that ask `url` of the server made of `pids`.
    pub(super) fn ask(
        &self,
        url: Url,
        pids: &[u32],
        clients: Clients,
    ) -> Result<Vec<Figure>, Error> {
        let options = http::Options {
            url,
            connections: clients.connections,
            interval: None,
            keep_alive: clients.keep_alive,
            pipeline: 1,
            paths: None,
            zipf: None,
            verify: None,
            seed: 0,
            window: self.options.window,
            rounds: 1,
            server_pids: pids.to_vec(),
        };
        let outcome = http::run(&options, self.interrupt, &mut |_, _| ())?;
        let measured = outcome.rounds.first();
        figures(measured.ok_or_else(|| Error::Run("interrupted".to_owned()))?)
    }
}

/// The figures of a measurement with one class of clients.
fn figures(measured: &Measurement) -> Result<Vec<Figure>, Error> {
    let lost = |why: String| Err(Error::Run(why));
    if let Some(why) = &measured.failure {
        return lost(why.clone());
    }
    let Some(class) = measured.classes.first().filter(|class| class.received > 0) else {
        return lost("nothing was answered".to_owned());
    };
    if let Some(first) = &class.first_error {
        return lost(format!(
            "{} requests failed; the first: {first}",
            class.errors
        ));
    }
    let mut figures = vec![
        figure(RATE, class.rate),
        figure("p99 us", class.latency.p99 * 1e6),
        figure(
            CLIENT,
            measured.usage.client.as_secs_f64() / measured.seconds,
        ),
    ];
    if let Some(server) = measured.usage.server {
        let us = server.as_secs_f64() * 1e6;
        figures.push(figure(CPU_KIB, us / (class.received as f64 / 1024.0)));
        if class.requests > 0 {
            figures.push(figure(CPU, us / class.requests as f64));
        }
    }
    Ok(figures)
}
