//! Seeds that found something once, each a file under `tests/seeds/`: `suite = world`, `seed = 0x...`, what was left out
//! when it was made small, and what it found.

use std::fs;
use std::path::{Path, PathBuf};

use ambidex_tests::sim::world::{Cut, run};

/// The value of `name` in the lines of a file, as a number.
fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let word = line.trim_start().strip_prefix('=')?.trim();
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

/// Where they are.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds")
}

/// Writes down a seed that has found something, and what it is without; tells where.
pub(crate) fn keep(seed: u64, cut: Cut, wrong: &str) -> String {
    let Cut {
        clients,
        requests,
        faults,
    } = cut;
    let text = format!(
        "suite = world\nseed = {seed:#x}\nwithout_clients = {clients}\nwithout_requests = {requests}\n\
         without_faults = {faults}\nfound = {}\n",
        wrong.replace('\n', " ")
    );
    let path = directory().join(format!("world-{seed:x}.txt"));
    match fs::write(&path, &text) {
        Ok(()) => path.display().to_string(),
        Err(error) => format!("nothing ({error}):\n{text}"),
    }
}

#[test]
fn what_a_seed_has_found_once_stays_found() {
    let mut count = 0;
    for entry in fs::read_dir(directory()).expect("tests/seeds") {
        let path = entry.expect("tests/seeds").path();
        let text = fs::read_to_string(&path).expect("a file of text");
        if !text.lines().any(|line| line == "suite = world") {
            continue;
        }
        let seed = number(&text, "seed").expect("a seed");
        let cut = Cut {
            clients: number(&text, "without_clients").unwrap_or(0) as u32,
            requests: number(&text, "without_requests").unwrap_or(0) as usize,
            faults: number(&text, "without_faults").unwrap_or(0) as u32,
        };
        for cut in [Cut::default(), cut] {
            let wrong = run(seed, cut, false).wrong;
            assert_eq!(wrong, None, "{} finds it again", path.display());
        }
        count += 1;
    }
    assert!(count > 0, "there are seeds");
}
