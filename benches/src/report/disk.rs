//! The report of `ambidex-bench disk`.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::Context;
use crate::disk::{IoEngine, Options, Place, Run, Series, Tally};
use crate::statistics::{median, paired_ratio};
use crate::table::{count, duration, or_dash, table};

/// The percentiles that fio reports.
const PERCENTILES: [f64; 17] = [
    1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95,
    99.99,
];
/// Those of the table.
const SHOWN: [(&str, f64); 5] = [
    ("p50", 50.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("p99.99", 99.99),
    ("max", 100.0),
];

/// The result of `ambidex-bench disk`.
///
/// In JSON `jobs` has an object for each run, like that of `fio --output-format=json
/// --lat_percentiles=1`: `read` and `write` with `iops`, `bw` (KiB/s), `bw_bytes`, `io_bytes`,
/// `total_ios`, `runtime` (ms) and `lat_ns`, `sync` with `total_ios` and `lat_ns`; `usr_cpu` and
/// `sys_cpu` (percent of one processor), `ctx`, `majf`, `minf`. Beyond fio: `engine`, `round`,
/// `interrupted`, `error`, `verified_blocks`, and for each read or write `cpu_us_per_io`,
/// `ctx_per_io`, `syscalls_per_io` (null where nobody counts).
///
/// `summary` has an object for each engine with the medians of its rounds, and `iops_ratio`, the
/// median of the rounds' ratios to the first engine.
#[derive(Clone, Debug)]
pub struct Disk<'a> {
    /// On what.
    pub context: &'a Context,
    /// What was asked for.
    pub options: &'a Options,
    /// What was seen.
    pub series: &'a Series,
}

/// One figure of a run.
type Figure<'a> = &'a dyn Fn(&Run) -> Option<f64>;

impl Run {
    fn per_second(&self, number: u64) -> Option<f64> {
        Some(number as f64 / self.seconds).filter(|rate| rate.is_finite())
    }

    /// `None` if nothing was done.
    fn per_io(&self, total: f64) -> Option<f64> {
        Some(total / self.ios() as f64).filter(|each| each.is_finite())
    }

    fn cpu_us_per_io(&self) -> Option<f64> {
        self.per_io(self.used.cpu().as_secs_f64() * 1e6)
    }

    fn ctx_per_io(&self) -> Option<f64> {
        self.per_io(self.used.ctx() as f64)
    }

    fn calls_per_io(&self) -> Option<f64> {
        self.calls.and_then(|calls| self.per_io(calls as f64))
    }

    fn kind_to_json(&self, tally: &Tally) -> Value {
        let bandwidth = self.per_second(tally.bytes).unwrap_or(0.0);
        json!({
            "io_bytes": tally.bytes,
            "bw_bytes": bandwidth.round() as u64,
            "bw": (bandwidth / 1024.0).round() as u64,
            "iops": self.per_second(tally.ios),
            "runtime": (self.seconds * 1e3).round() as u64,
            "total_ios": tally.ios,
            "lat_ns": latency(&tally.lat),
        })
    }

    fn to_json(&self, options: &Options) -> Value {
        let percent = |time: std::time::Duration| time.as_secs_f64() / self.seconds * 100.0;
        json!({
            "jobname": self.engine.name(),
            "engine": self.engine.name(),
            "round": self.round,
            "interrupted": self.interrupted,
            "error": self.failure,
            "job options": options_to_json(options),
            "read": self.kind_to_json(&self.read),
            "write": self.kind_to_json(&self.write),
            "sync": {
                "total_ios": self.sync.ios,
                "lat_ns": latency(&self.sync.lat),
            },
            "usr_cpu": percent(self.used.user),
            "sys_cpu": percent(self.used.system),
            "ctx": self.used.ctx(),
            "majf": self.used.majf,
            "minf": self.used.minf,
            "verified_blocks": self.verified,
            "cpu_us_per_io": self.cpu_us_per_io(),
            "ctx_per_io": self.ctx_per_io(),
            "syscalls_per_io": self.calls_per_io(),
        })
    }
}

fn options_to_json(options: &Options) -> Value {
    let filename = match &options.place {
        Place::Filename(path) => Some(path),
        Place::Directory(_) | Place::Temporary => None,
    };
    let every = |data_only| {
        let every = options.sync_every.filter(|one| one.data_only == data_only);
        every.map_or(0, |every| every.writes)
    };
    json!({
        "filename": filename,
        "size": options.size,
        "rw": options.rw.name(),
        "rwmixread": options.rwmixread,
        "bs": options.bs,
        "iodepth": options.iodepth,
        "iodepth_batch": options.iodepth_batch,
        "numjobs": options.numjobs,
        "direct": u8::from(options.direct),
        "sync": u8::from(options.sync),
        "fsync": every(false),
        "fdatasync": every(true),
        "runtime": options.runtime.as_secs_f64(),
        "number_ios": options.number_ios,
        "randseed": options.seed,
        "gtod_reduce": u8::from(options.gtod_reduce),
        "invalidate": u8::from(options.invalidate || options.direct),
        "verify": u8::from(options.verify),
    })
}

fn latency(lat: &Histogram<u64>) -> Value {
    if lat.is_empty() {
        return Value::Null;
    }
    let at = |percentile| {
        let name = format!("{percentile:.6}");
        (name, lat.value_at_percentile(percentile).into())
    };
    let percentiles: Map<String, Value> = PERCENTILES.map(at).into_iter().collect();
    json!({
        "min": lat.min(),
        "max": lat.max(),
        "mean": lat.mean(),
        "stddev": lat.stdev(),
        "N": lat.len(),
        "percentile": percentiles,
    })
}

fn at(tally: &Tally, percentile: f64) -> Option<f64> {
    let timed = (!tally.lat.is_empty()).then_some(&tally.lat);
    timed.map(|lat| lat.value_at_percentile(percentile) as f64 / 1e9)
}

impl Disk<'_> {
    fn runs(&self, engine: IoEngine) -> impl Iterator<Item = &Run> {
        self.series
            .runs
            .iter()
            .filter(move |run| run.engine == engine)
    }

    /// The median of the rounds of one engine.
    fn median(&self, engine: IoEngine, figure: Figure<'_>) -> Option<f64> {
        median(&self.runs(engine).filter_map(figure).collect::<Vec<f64>>())
    }

    /// To the first engine, round by round.
    fn ratio(&self, engine: IoEngine) -> Option<f64> {
        let first = *self.options.engines.first()?;
        let rates = |engine| -> Vec<f64> {
            let rate = |run: &Run| run.per_second(run.ios()).unwrap_or(f64::NAN);
            self.runs(engine).map(rate).collect()
        };
        paired_ratio(&rates(engine), &rates(first))
    }

    /// As JSON; see [`Disk`].
    #[must_use]
    pub fn to_json(&self) -> Value {
        let runs = self.series.runs.iter();
        let jobs: Vec<Value> = runs.map(|run| run.to_json(self.options)).collect();
        let engines = self.options.engines.iter();
        let summary: Vec<Value> = engines.map(|engine| self.summary(*engine)).collect();
        let mut report = self.context.to_json("disk", self.series.interrupted);
        report.insert("error".to_owned(), self.series.failure().into());
        report.insert("temporary".to_owned(), self.series.temporary.into());
        report.insert("jobs".to_owned(), json!(jobs));
        report.insert("summary".to_owned(), json!(summary));
        Value::Object(report)
    }

    fn summary(&self, engine: IoEngine) -> Value {
        let kind = |tally: fn(&Run) -> &Tally| {
            let us = |percentile| {
                let figure = |run: &Run| at(tally(run), percentile).map(|s| s * 1e6);
                self.median(engine, &figure)
            };
            json!({
                "iops": self.median(engine, &|run| run.per_second(tally(run).ios)),
                "bw_bytes": self.median(engine, &|run| run.per_second(tally(run).bytes)),
                "p50_us": us(50.0),
                "p90_us": us(90.0),
                "p99_us": us(99.0),
                "p99_9_us": us(99.9),
                "p99_99_us": us(99.99),
                "max_us": us(100.0),
            })
        };
        json!({
            "engine": engine.name(),
            "rounds": self.runs(engine).count(),
            "read": kind(|run| &run.read),
            "write": kind(|run| &run.write),
            "cpu_us_per_io": self.median(engine, &Run::cpu_us_per_io),
            "ctx_per_io": self.median(engine, &Run::ctx_per_io),
            "syscalls_per_io": self.median(engine, &Run::calls_per_io),
            "iops_ratio": self.ratio(engine),
        })
    }

    /// For people.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut rows = vec![self.titles()];
        let engines = self.options.engines.iter();
        for engine in engines.filter(|engine| self.runs(**engine).next().is_some()) {
            rows.extend(self.rows(*engine));
        }
        let mut text = self.context.line() + &self.conditions() + &table(&rows);
        for run in self.series.runs.iter().filter(|run| run.verified > 0) {
            if run.failure.is_none() {
                let (blocks, name) = (count(run.verified as f64), run.engine.name());
                text += &format!(
                    "{name}, round {}: {blocks} blocks verified\n",
                    run.round + 1
                );
            }
        }
        if let Some(failure) = self.series.failure() {
            text +=
                &format!("ended early, what is above is what was measured until then: {failure}\n");
        }
        if self.series.interrupted {
            let done: f64 = self.series.runs.iter().map(|run| run.seconds).sum();
            text += &format!("interrupted after {done:.1} s\n");
        }
        text
    }

    /// What all engines had in common.
    fn conditions(&self) -> String {
        let options = self.options;
        let way = if options.direct { "direct" } else { "buffered" };
        let gone = if self.series.temporary {
            ", removed"
        } else {
            ""
        };
        format!(
            "{}{gone}: {} {way}, blocks of {} bytes, depth {}, {} jobs, rounds {}\n",
            self.series.path.display(),
            options.rw.name(),
            options.bs,
            options.iodepth,
            options.numjobs,
            options.rounds,
        )
    }

    fn titles(&self) -> Vec<String> {
        let mut titles = ["", "IOPS", "MiB/s"].map(str::to_owned).to_vec();
        titles.extend(SHOWN.map(|(title, _)| title.to_owned()));
        titles.extend(["cpu/io", "user", "system", "calls/io", "ctx/io"].map(str::to_owned));
        if let [first, _, ..] = self.options.engines[..] {
            titles.push(format!("/{}", first.name()));
        }
        titles
    }

    /// A row for each kind of operation; what cannot be told apart is in the first.
    fn rows(&self, engine: IoEngine) -> Vec<Vec<String>> {
        type Kind = (&'static str, fn(&Run) -> &Tally);
        let kinds: [Kind; 3] = [
            ("read", |run| &run.read),
            ("write", |run| &run.write),
            ("sync", |run| &run.sync),
        ];
        let seen = |kind: &&Kind| self.runs(engine).any(|run| (kind.1)(run).ios > 0);
        let used: Vec<&Kind> = kinds.iter().filter(seen).collect();
        let named = used.iter().map(|(name, tally)| {
            let mut row = vec![format!("{} {name}", engine.name())];
            row.extend(self.rates(engine, *tally));
            row
        });
        let mut rows: Vec<Vec<String>> = named.collect();
        if rows.is_empty() {
            rows.push(vec![format!("{} -", engine.name())]);
        }
        rows[0].extend(self.costs(engine));
        rows
    }

    fn rates(&self, engine: IoEngine, tally: fn(&Run) -> &Tally) -> Vec<String> {
        let iops = self.median(engine, &|run| run.per_second(tally(run).ios));
        let mebibytes = self.median(engine, &|run| {
            let rate = run.per_second(tally(run).bytes)?;
            // A sync moves none that could be counted.
            Some(rate / f64::from(1 << 20)).filter(|rate| *rate > 0.0)
        });
        let mut row = vec![
            or_dash(iops, count),
            or_dash(mebibytes, |rate| format!("{rate:.1}")),
        ];
        for (_, percentile) in SHOWN {
            let lat = self.median(engine, &|run| at(tally(run), percentile));
            row.push(or_dash(lat, duration));
        }
        row
    }

    fn costs(&self, engine: IoEngine) -> Vec<String> {
        let us = |value| or_dash(value, |us: f64| format!("{us:.3}us"));
        let each = |value| or_dash(value, |each: f64| format!("{each:.4}"));
        let user = |run: &Run| run.per_io(run.used.user.as_secs_f64() * 1e6);
        let system = |run: &Run| run.per_io(run.used.system.as_secs_f64() * 1e6);
        let mut costs = vec![
            us(self.median(engine, &Run::cpu_us_per_io)),
            us(self.median(engine, &user)),
            us(self.median(engine, &system)),
            each(self.median(engine, &Run::calls_per_io)),
            each(self.median(engine, &Run::ctx_per_io)),
        ];
        if self.options.engines.len() > 1 {
            costs.push(or_dash(self.ratio(engine), |ratio| format!("{ratio:.3}")));
        }
        costs
    }
}

#[cfg(test)]
mod tests;
