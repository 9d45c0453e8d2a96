//! What each cell needs: a site, a server, a load, and a place for what was counted.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ambidex_tests::rig::cold;
use ambidex_tests::rig::load::{Load, Page, Tally};
use ambidex_tests::server::{Backend, Builder, Server};
use ambidex_tests::tree::content;
use tempfile::TempDir;

/// Clients of a load.
pub(crate) const CLIENTS: usize = 4;
/// Requests that each of them makes when it has ended.
pub(crate) const AFTERWARDS: usize = 24;

/// How much is to be proven: `AMBIDEX_PROVE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effort {
    /// Some cells, in a plain `cargo test`.
    Quick,
    /// What fits into a CI run.
    Ci,
    /// All.
    Long,
}

pub(crate) fn effort() -> Effort {
    match std::env::var("AMBIDEX_PROVE").as_deref() {
        Err(_) => Effort::Quick,
        Ok("long") => Effort::Long,
        Ok(_) => Effort::Ci,
    }
}

/// Whether to run the cell `name`: all, or those whose names hold `AMBIDEX_CELL`.
pub(crate) fn is_chosen(name: &str) -> bool {
    std::env::var("AMBIDEX_CELL").map_or(true, |part| name.contains(&part))
}

/// Requests that each client makes while a fault lasts.
pub(crate) fn requests() -> usize {
    match effort() {
        Effort::Quick => 40,
        Effort::Ci => 200,
        Effort::Long => 400,
    }
}

/// What must hold of the answers while a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// All are right: clients do not notice.
    Right,
    /// Some may be cut short or refused.
    Honest,
    /// As `Honest`, and what hangs does so for longer than the server waits.
    Hung,
}

impl Promise {
    /// Seconds that the server is to wait for a disk; what is well needs far less.
    pub(crate) fn disk_deadline(self) -> &'static str {
        if self == Self::Hung { "3" } else { "30" }
    }

    pub(crate) fn check(self, tally: &Tally, cell: &str) {
        if self == Self::Right {
            tally.expect_right(cell);
        }
    }
}

/// A site: files that are in memory, small and of several reads, and files that are cold each time.
pub(crate) struct Site {
    root: TempDir,
    pub(crate) hot: Vec<Page>,
    pub(crate) cold: Vec<Page>,
}

impl Site {
    pub(crate) fn new() -> Self {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let root = tempfile::tempdir_in(place).expect("a temporary directory");
        let evictable = cold::missing(place).expect("a temporary file").is_none();
        let write = |name: &str, seed, size| {
            let bytes = content(seed, size);
            std::fs::write(root.path().join(name), &bytes).expect("a new file");
            Page::new(format!("/{name}"), bytes)
        };
        let small = |n: u64| write(&format!("small{n}"), n, 1024).hot();
        let middle = |n: u64| write(&format!("middle{n}"), 10 + n, 64 << 10);
        let large = write("large", 30, 3 << 20);
        let hot = vec![small(0), middle(0), small(1), large, small(2), middle(1)];
        let cold = |n: u64| {
            let name = format!("cold{n}");
            let page = write(&name, 20 + n, 200_000);
            // Where nothing can be evicted, every read takes a worker all the same.
            let evicted = page.clone().cold(&root.path().join(name));
            if evictable { evicted } else { page }
        };
        let cold = (0..3).map(cold).collect();
        Self { root, hot, cold }
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn builder(&self, backend: Backend) -> Builder {
        Server::builder(self.path())
            .backend(backend)
            .args(["--grace-period", "1"])
    }

    /// A load of all files.
    pub(crate) fn load(&self, server: &Server) -> Load {
        Load::new(
            server.addr(),
            [self.hot.clone(), self.cold.clone()].concat(),
            CLIENTS,
        )
    }

    /// A load of what is in memory.
    pub(crate) fn hot_load(&self, server: &Server) -> Load {
        Load::new(server.addr(), self.hot.clone(), CLIENTS)
    }
}

/// The fault has ended: all is right again, and the server ends in order.
pub(crate) fn expect_normal(mut server: Server, load: &Load, cell: &str) -> Tally {
    let tally = load.run(AFTERWARDS);
    tally.expect_right(&format!("{cell}, afterwards"));
    server.assert_sound();
    let status = server.terminate();
    assert_eq!(status.code(), Some(0), "{cell}: {}", server.stderr());
    tally.without_times()
}

/// The groups of cells, each a test: the last to end prints the sum.
const GROUPS: usize = 7;

static ENDED: Mutex<(usize, u64, Option<Tally>)> = Mutex::new((0, 0, None));

/// What the cells of one group counted.
pub(crate) struct Report {
    group: &'static str,
    cells: u64,
    tally: Tally,
}

impl Report {
    pub(crate) fn new(group: &'static str) -> Self {
        let (cells, tally) = Default::default();
        Self {
            group,
            cells,
            tally,
        }
    }

    /// Counts one cell that holds.
    pub(crate) fn cell(&mut self, name: &str, tally: Tally) {
        say(&format!("  {name}: {}", text(&tally)));
        self.cells += 1;
        self.tally.add(tally);
    }

    /// Counts the group; after the last, says what was counted in all.
    pub(crate) fn finish(self) {
        let cells = self.cells;
        say(&format!(
            "  {}, {cells} cells: {}",
            self.group,
            text(&self.tally)
        ));
        let mut ended = ENDED.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = ended.2.take().unwrap_or_default();
        all.add(self.tally);
        *ended = (ended.0 + 1, ended.1 + cells, Some(all.clone()));
        if ended.0 == GROUPS {
            say(&format!("PROVED faults: {} cells, {}", ended.1, text(&all)));
        }
    }
}

fn text(tally: &Tally) -> String {
    let Tally {
        right,
        cut,
        refused,
        ..
    } = tally;
    let (half, most) = (tally.hot(50), tally.hot(99));
    format!(
        "{right} responses right, {cut} cut short, {refused} refused, 0 wrong; \
         hot p50 {half:.1?}, p99 {most:.1?}"
    )
}

/// Past the test harness, which keeps what passing tests say.
fn say(line: &str) {
    if effort() > Effort::Quick {
        // There is nobody to tell that standard error is closed.
        let _ = writeln!(io::stderr(), "{line}");
    }
}
