//! A sentence for each finding.

use super::{Findings, MEMORY, Nowait, Reads};

/// From this share of reads on, it is how the filesystem works.
const MOST: f64 = 0.9;
/// From this share of a read's time on, submitting it is what one waits for.
const BLOCKS_SHARE: f64 = 0.5;

/// How a kind of read is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// While it is submitted, without waiting.
    Inside,
    /// While it is submitted, and submitting waits for the device.
    Blocks,
    /// By a worker thread of the kernel.
    Worker,
    /// By an interrupt, later.
    Later,
}

impl Verdict {
    /// As JSON has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Inside => "inside",
            Verdict::Blocks => "blocks",
            Verdict::Worker => "worker",
            Verdict::Later => "later",
        }
    }
}

/// A finding and what to make of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What was asked, in a word or two.
    pub about: &'static str,
    /// The answer.
    pub finding: String,
    /// What to do.
    pub advice: &'static str,
}

impl Reads {
    /// How these, of which all were `cold` or hot, were answered.
    #[must_use]
    pub fn verdict(&self, cold: bool) -> Verdict {
        let waited = self.submit.as_secs_f64() / self.whole.as_secs_f64();
        if self.workers > 0 {
            Verdict::Worker
        } else if self.inside as f64 >= MOST * self.count as f64 {
            if cold {
                Verdict::Blocks
            } else {
                Verdict::Inside
            }
        } else if cold && waited >= BLOCKS_SHARE {
            Verdict::Blocks
        } else {
            Verdict::Later
        }
    }

    fn finding(&self) -> String {
        let workers = match self.workers {
            0 => "no worker thread".to_owned(),
            1 => "a worker thread".to_owned(),
            more => format!("{more} worker threads"),
        };
        format!(
            "{} of {} answered inside submit, {workers}; submit {:.1} us (at most {:.1}), answer after {:.1} us",
            self.inside,
            self.count,
            self.submit.as_secs_f64() * 1e6,
            self.submit_max.as_secs_f64() * 1e6,
            self.whole.as_secs_f64() * 1e6,
        )
    }
}

impl Findings {
    /// A sentence for each finding.
    #[must_use]
    pub fn advice(&self) -> Vec<Advice> {
        vec![
            self.hot_reads(),
            self.cold_reads(),
            self.nowait_reads(),
            self.direct_reads(),
        ]
    }

    fn hot_reads(&self) -> Advice {
        let (finding, advice) = match &self.hot {
            None => (
                format!(
                    "no ring: {}",
                    self.uring_denied.as_deref().unwrap_or("unknown")
                ),
                "Files are read by threads here: a hot read costs two switches, unless it is tried with RWF_NOWAIT first.",
            ),
            Some(hot) => (
                hot.finding(),
                match hot.verdict(false) {
                    Verdict::Inside | Verdict::Blocks => {
                        "Read by the ring: what is cached costs no thread and no wait."
                    }
                    Verdict::Worker => {
                        "Even cached reads pay for a worker thread: try RWF_NOWAIT or pread on the loop first, or serve from another filesystem."
                    }
                    Verdict::Later => {
                        "Cached reads are answered late: measure with 'ambidex-bench disk' before relying on the ring."
                    }
                },
            ),
        };
        Advice {
            about: "hot read",
            finding,
            advice,
        }
    }

    fn cold_reads(&self) -> Advice {
        let stays = self.place == MEMORY || self.nowait == Some(Nowait::AlwaysThere);
        let (finding, advice) = match (&self.cold, stays) {
            (None, true) => (
                "the file cannot be evicted".to_owned(),
                "It lives in memory: nothing is ever cold, read it on the loop.",
            ),
            (None, _) => (
                "not measured".to_owned(),
                "Nothing can be said without a ring.",
            ),
            (Some(cold), _) => (
                cold.finding(),
                match cold.verdict(true) {
                    Verdict::Inside | Verdict::Blocks => {
                        "Submitting waits for the device: hand cold reads to threads, or force them to io-wq (IOSQE_ASYNC)."
                    }
                    Verdict::Worker => {
                        "Cold reads take a worker thread each: bound them (IORING_REGISTER_IOWQ_MAX_WORKERS) and expect a switch for each."
                    }
                    Verdict::Later => {
                        "Cold reads are answered by an interrupt and hold no thread: submit them from the loop, a few at a time."
                    }
                },
            ),
        };
        Advice {
            about: "cold read",
            finding,
            advice,
        }
    }

    fn nowait_reads(&self) -> Advice {
        let (finding, advice) = match self.nowait {
            Some(Nowait::Works) => (
                "works: cached blocks are read, others refused with EAGAIN",
                "Try it first on the loop: a hit costs one system call, a miss nearly nothing.",
            ),
            Some(Nowait::AlwaysThere) => (
                "works, and never refuses",
                "It says nothing about devices here: there is none.",
            ),
            Some(Nowait::Unsupported) => (
                "refused with EOPNOTSUPP",
                "Whether a block is cached cannot be asked: every read may wait, leave it to others than the loop.",
            ),
            None => (
                "refuses what was just read",
                "It promises nothing here: do not rely on it to tell hot from cold.",
            ),
        };
        Advice {
            about: "RWF_NOWAIT",
            finding: finding.to_owned(),
            advice,
        }
    }

    fn direct_reads(&self) -> Advice {
        let (finding, advice) = match (self.direct, self.direct_opens) {
            (Some(asked), true) => (
                format!(
                    "memory to {} bytes, offset and length to {} bytes",
                    asked.memory, asked.offset
                ),
                "Take buffers from a Pool, which are aligned to 4096, and blocks of that multiple.",
            ),
            (None, true) => (
                "can be opened, but the alignment is not told".to_owned(),
                "Align everything to 4096 bytes.",
            ),
            (_, false) => (
                "cannot be opened".to_owned(),
                "Only buffered reads work here: leave --direct out.",
            ),
        };
        Advice {
            about: "O_DIRECT",
            finding,
            advice,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn reads(inside: u64, workers: usize, submit: u64, whole: u64) -> Reads {
        Reads {
            count: 64,
            inside,
            workers,
            submit: Duration::from_micros(submit),
            submit_max: Duration::from_micros(submit),
            whole: Duration::from_micros(whole),
            device_reads: None,
        }
    }

    #[test]
    fn each_way_of_answering_is_told_apart() {
        assert_eq!(reads(64, 0, 2, 2).verdict(false), Verdict::Inside);
        assert_eq!(reads(64, 0, 90, 91).verdict(true), Verdict::Blocks);
        assert_eq!(reads(0, 0, 80, 100).verdict(true), Verdict::Blocks);
        assert_eq!(reads(0, 3, 5, 50).verdict(false), Verdict::Worker);
        assert_eq!(reads(0, 0, 10, 100).verdict(true), Verdict::Later);
        // A hot read or two that lost its page changes nothing.
        assert_eq!(reads(63, 0, 2, 2).verdict(false), Verdict::Inside);
    }

    fn found() -> Findings {
        Findings {
            filesystem: None,
            place: "local",
            uring_denied: None,
            hot: Some(reads(64, 0, 2, 2)),
            cold: Some(reads(0, 0, 10, 100)),
            nowait: Some(Nowait::Works),
            direct: None,
            direct_opens: false,
        }
    }

    fn said(found: &Findings, about: &str) -> Advice {
        let mut all = found.advice().into_iter();
        all.find(|one| one.about == about)
            .expect("there is a sentence")
    }

    #[test]
    fn every_finding_has_its_own_sentence() {
        let mut found = found();
        assert!(said(&found, "hot read").advice.contains("no thread"));
        assert!(said(&found, "cold read").advice.contains("interrupt"));
        found.cold = Some(reads(0, 2, 10, 100));
        assert!(said(&found, "cold read").advice.contains("worker thread"));
        found.cold = Some(reads(60, 0, 90, 100));
        assert!(
            said(&found, "cold read")
                .advice
                .contains("waits for the device")
        );
        found.cold = None;
        assert!(said(&found, "cold read").advice.contains("without a ring"));
        found.nowait = Some(Nowait::AlwaysThere);
        assert!(said(&found, "cold read").advice.contains("in memory"));
        (found.nowait, found.place) = (None, MEMORY);
        assert!(said(&found, "cold read").advice.contains("in memory"));
        found.nowait = Some(Nowait::Unsupported);
        assert!(said(&found, "RWF_NOWAIT").finding.contains("EOPNOTSUPP"));
        assert!(said(&found, "O_DIRECT").advice.contains("buffered"));
        found.direct_opens = true;
        assert!(said(&found, "O_DIRECT").finding.contains("not told"));
        found.hot = None;
        found.uring_denied = Some("EPERM".to_owned());
        assert!(said(&found, "hot read").finding.contains("EPERM"));
    }
}
