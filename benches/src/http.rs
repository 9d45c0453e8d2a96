//! One server asked for one file or a mix of them, round after round.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ambidex::Engine;

use crate::Error;
use crate::interrupt::Interrupt;
use crate::load::{self, Ask, Class, Measurement, Paths, Supply, Window};
use crate::parse::Url;
use crate::usage::Meter;

/// Bytes of all files together that are kept to be compared with.
const VERIFIED_MAX: u64 = 1 << 30;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to ask for, and whom.
    pub url: Url,
    /// How many clients.
    pub connections: usize,
    /// An open loop: the time from one request to the next, of all clients together.
    pub interval: Option<Duration>,
    /// Whether connections are used again.
    pub keep_alive: bool,
    /// Requests sent at once.
    pub pipeline: usize,
    /// A file that lists paths to ask for instead of that of `url`, one a line.
    pub paths: Option<PathBuf>,
    /// The n-th path is asked for with a weight of 1/n^S.
    pub zipf: Option<f64>,
    /// The directory that is served, to compare each body with.
    pub verify: Option<PathBuf>,
    /// Of what is drawn.
    pub seed: u64,
    /// How long each round is measured.
    pub window: Window,
    /// How many rounds.
    pub rounds: usize,
    /// The server's processes.
    pub server_pids: Vec<u32>,
}

/// All rounds.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// In the order measured, also one that does not count.
    pub rounds: Vec<Measurement>,
    /// How many paths were asked for.
    pub paths: usize,
    /// It ended before its time.
    pub interrupted: bool,
}

/// Measures all rounds. One that does not count ends them. `begun` is told how many were before one that
/// begins, and its name.
///
/// # Errors
/// [`Error::Start`] before anything was measured, else [`Error::Run`].
///
/// # Blocking
/// For the whole time.
pub fn run(
    options: &Options,
    interrupt: &Interrupt,
    begun: &mut dyn FnMut(usize, &str),
) -> Result<Outcome, Error> {
    let mut engine = load::engine()?;
    let address = load::resolve(&options.url)?;
    let asks = asks(&mut engine, address, options, interrupt)?;
    let mut outcome = Outcome {
        paths: asks.len(),
        ..Outcome::default()
    };
    let meter = Meter::new(&options.server_pids);
    for round in 0..options.rounds {
        if interrupt.is_set() {
            break;
        }
        begun(round, &format!("round {}/{}", round + 1, options.rounds));
        let supply = supply(asks.clone(), options, round);
        let mut class = Class::new(address, options.connections, supply)
            .open(options.interval)
            .pipelined(options.pipeline);
        if !options.keep_alive {
            class = class.without_keep_alive();
        }
        let classes = vec![class];
        let measured = load::measure(
            &mut engine,
            classes,
            options.window,
            &meter,
            interrupt,
            || {},
        )?;
        let failed = measured.failure.is_some();
        outcome.rounds.push(measured);
        if failed {
            break;
        }
    }
    outcome.interrupted = interrupt.is_set();
    Ok(outcome)
}

fn supply(mut asks: Vec<Ask>, options: &Options, round: usize) -> Rc<dyn Supply> {
    match asks.pop() {
        Some(only) if asks.is_empty() => Rc::new(only),
        last => {
            asks.extend(last);
            // The n-th rounds of two runs draw the same, and no two rounds of one.
            let seed = options.seed.wrapping_add(round as u64);
            Rc::new(Paths::new(asks, options.zipf, seed))
        }
    }
}

/// Asks for each path once, to learn how long it is.
fn asks(
    engine: &mut Engine,
    address: SocketAddr,
    options: &Options,
    interrupt: &Interrupt,
) -> Result<Vec<Ask>, Error> {
    let mut asks = Vec::new();
    let mut kept = 0;
    for url in urls(options)? {
        if interrupt.is_set() {
            break;
        }
        let answer = load::preflight(engine, address, &url)?;
        let content = options
            .verify
            .as_deref()
            .map(|dir| content(dir, &url, answer.length));
        let content = content.transpose()?;
        kept += content.as_ref().map_or(0, |_| answer.length);
        if kept > VERIFIED_MAX {
            return Err(Error::Start(
                "--verify keeps the files in memory, and these have more than 1 GiB: ask for fewer"
                    .to_owned(),
            ));
        }
        let request = if options.keep_alive {
            url.request()
        } else {
            url.last_request()
        };
        asks.push(Ask {
            request: request.into(),
            length: answer.length,
            content,
            ticket: asks.len(),
        });
    }
    Ok(asks)
}

fn urls(options: &Options) -> Result<Vec<Url>, Error> {
    let Some(file) = &options.paths else {
        return Ok(vec![options.url.clone()]);
    };
    let wrong = |why: String| Error::Start(format!("--paths {}: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let urls = lines.map(|(index, line)| {
        let url = options.url.at(line.trim());
        url.map_err(|why| wrong(format!("line {}: {why}", index + 1)))
    });
    let urls: Vec<Url> = urls.collect::<Result<_, _>>()?;
    if urls.is_empty() {
        return Err(wrong("there is no path in it".to_owned()));
    }
    Ok(urls)
}

/// The file that `url` names in `dir`.
fn content(dir: &Path, url: &Url, length: u64) -> Result<Rc<[u8]>, Error> {
    let path = url.target.split('?').next().unwrap_or_default();
    let name = percent_encoding::percent_decode_str(path.trim_start_matches('/'));
    let name = name.decode_utf8_lossy();
    let file = dir.join(&*name);
    let wrong = |why: String| Error::Start(format!("--verify: {}: {why}", file.display()));
    let found = fs::metadata(&file).map_err(|error| wrong(error.to_string()))?;
    if found.len() != length {
        return Err(wrong(format!(
            "has {} bytes, the answer for {} has {length}: is that the directory?",
            found.len(),
            url.target
        )));
    }
    let bytes = fs::read(&file).map_err(|error| wrong(error.to_string()))?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(paths: PathBuf) -> Options {
        Options {
            url: "http://127.0.0.1:1/x".parse().unwrap(),
            connections: 1,
            interval: None,
            keep_alive: true,
            pipeline: 1,
            paths: Some(paths),
            zipf: None,
            verify: None,
            seed: 0,
            window: Window {
                warm_up: Duration::ZERO,
                runtime: Duration::ZERO,
            },
            rounds: 1,
            server_pids: Vec::new(),
        }
    }

    #[test]
    fn a_list_of_paths_is_read_and_a_bad_line_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("paths");
        fs::write(&file, "/a\n\n  /b?c \n").unwrap();
        let targets: Vec<String> = urls(&options(file.clone()))
            .unwrap()
            .into_iter()
            .map(|url| url.target)
            .collect();
        assert_eq!(targets, ["/a", "/b?c"]);
        for (text, told) in [("/a\nb\n", "line 2"), ("\n", "no path")] {
            fs::write(&file, text).unwrap();
            let error = urls(&options(file.clone())).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_the_answers_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a b"), "12345").unwrap();
        let url: Url = "http://h/a%20b?x".parse().unwrap();
        assert_eq!(&*content(dir.path(), &url, 5).unwrap(), b"12345");
        let error = content(dir.path(), &url, 6).unwrap_err().to_string();
        assert!(
            error.contains("has 5 bytes, the answer for /a%20b?x has 6"),
            "{error}"
        );
    }
}
