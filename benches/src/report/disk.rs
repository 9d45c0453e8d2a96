//! The report of `ambidex-bench disk`.

use serde_json::{Map, Value, json};

use super::Context;
use crate::disk::{IoEngine, Options, Outcome};
use crate::table::{count, duration, or_dash, table};

/// The percentiles that fio reports.
const PERCENTILES: [f64; 17] = [
    1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95,
    99.99,
];
/// Those of the table.
const SHOWN: [(&str, f64); 4] = [
    ("p50", 50.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("max", 100.0),
];

/// The result of `ambidex-bench disk`.
///
/// In JSON `jobs` has one object like that of `fio --output-format=json --lat_percentiles=1`:
/// `read` with `iops`, `bw` (KiB/s), `bw_bytes`, `io_bytes`, `total_ios`, `runtime` (ms) and
/// `lat_ns`; `usr_cpu` and `sys_cpu` (percent of one processor), `ctx`, `majf`, `minf`. Beyond fio:
/// `cpu_us_per_io` and `ctx_per_io`.
#[derive(Clone, Debug)]
pub struct Disk<'a> {
    /// On what.
    pub context: &'a Context,
    /// What was asked for.
    pub options: &'a Options,
    /// What was seen.
    pub outcome: &'a Outcome,
}

impl Disk<'_> {
    /// Reads at a time.
    fn depth(&self) -> usize {
        match self.options.engine {
            IoEngine::Pread => 1,
            IoEngine::Hybrid | IoEngine::Threads => self.options.iodepth,
        }
    }

    fn per_second(&self, number: u64) -> f64 {
        number as f64 / self.outcome.seconds
    }

    /// `None` if nothing was read.
    fn per_io(&self, total: f64) -> Option<f64> {
        let each = total / self.outcome.total_ios as f64;
        Some(each).filter(|each| each.is_finite())
    }

    fn cpu_us_per_io(&self) -> Option<f64> {
        self.per_io(self.outcome.used.cpu().as_secs_f64() * 1e6)
    }

    /// As JSON; see [`Disk`].
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (options, outcome) = (self.options, self.outcome);
        let used = &outcome.used;
        let percent = |time: std::time::Duration| time.as_secs_f64() / outcome.seconds * 100.0;
        let bandwidth = self.per_second(outcome.io_bytes);
        let job = json!({
            "jobname": options.engine.name(),
            "job options": {
                "filename": options.filename,
                "size": options.size,
                "rw": options.rw.name(),
                "bs": options.bs,
                "iodepth": self.depth(),
                "direct": u8::from(options.direct),
                "runtime": options.runtime.as_secs_f64(),
                "number_ios": options.number_ios,
                "randseed": options.seed,
                "gtod_reduce": u8::from(options.gtod_reduce),
            },
            "read": {
                "io_bytes": outcome.io_bytes,
                "bw_bytes": bandwidth.round() as u64,
                "bw": (bandwidth / 1024.0).round() as u64,
                "iops": self.per_second(outcome.total_ios),
                "runtime": (outcome.seconds * 1e3).round() as u64,
                "total_ios": outcome.total_ios,
                "lat_ns": self.latency(),
            },
            "usr_cpu": percent(used.user),
            "sys_cpu": percent(used.system),
            "ctx": used.ctx(),
            "majf": used.majf,
            "minf": used.minf,
            "cpu_us_per_io": self.cpu_us_per_io(),
            "ctx_per_io": self.per_io(used.ctx() as f64),
        });
        let mut report = self.context.to_json("disk", outcome.interrupted);
        report.insert("jobs".to_owned(), json!([job]));
        Value::Object(report)
    }

    fn latency(&self) -> Value {
        let lat = &self.outcome.lat;
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

    /// For people.
    #[must_use]
    pub fn to_table(&self) -> String {
        let (options, outcome) = (self.options, self.outcome);
        let us = |value| or_dash(value, |us: f64| format!("{us:.3}us"));
        let mut rows = vec![
            vec![String::new()],
            vec![format!("{} {}", options.engine.name(), options.rw.name())],
        ];
        let mut column = |title: &str, text: String| {
            rows[0].push(title.to_owned());
            rows[1].push(text);
        };
        column("depth", self.depth().to_string());
        column("IOPS", count(self.per_second(outcome.total_ios)));
        let mebibytes = self.per_second(outcome.io_bytes) / f64::from(1 << 20);
        column("MiB/s", format!("{mebibytes:.1}"));
        for (title, percentile) in SHOWN {
            let timed = (!outcome.lat.is_empty()).then_some(&outcome.lat);
            let at = timed.map(|lat| lat.value_at_percentile(percentile) as f64 / 1e9);
            column(title, or_dash(at, duration));
        }
        column("cpu/read", us(self.cpu_us_per_io()));
        column(
            "user",
            us(self.per_io(outcome.used.user.as_secs_f64() * 1e6)),
        );
        let system = outcome.used.system.as_secs_f64() * 1e6;
        column("system", us(self.per_io(system)));
        let ctx = self.per_io(outcome.used.ctx() as f64);
        column("ctx/read", or_dash(ctx, |each| format!("{each:.4}")));
        let mut text = self.context.line() + &table(&rows);
        if outcome.interrupted {
            text += &format!("interrupted after {:.1} s\n", outcome.seconds);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use hdrhistogram::Histogram;

    use super::*;
    use crate::disk::Pattern;
    use crate::rusage::Rusage;

    fn reported(total_ios: u64, look: impl FnOnce(&Disk)) {
        let mut lat = Histogram::new(3).expect("three digits");
        lat.record_n(80_000, total_ios).expect("in range");
        look(&Disk {
            context: &Context::new(UNIX_EPOCH),
            options: &Options {
                filename: "blocks".into(),
                size: None,
                rw: Pattern::RandRead,
                bs: 4096,
                iodepth: 32,
                direct: true,
                runtime: Duration::from_secs(2),
                number_ios: None,
                engine: IoEngine::Hybrid,
                seed: 0,
                gtod_reduce: false,
            },
            outcome: &Outcome {
                seconds: 2.0,
                total_ios,
                io_bytes: total_ios * 4096,
                lat,
                used: Rusage {
                    user: Duration::from_millis(500),
                    system: Duration::from_millis(1000),
                    voluntary: 90,
                    involuntary: 10,
                    ..Rusage::default()
                },
                interrupted: false,
            },
        });
    }

    #[test]
    fn names_and_units_are_those_of_fio() {
        reported(1000, |report| {
            let json = report.to_json();
            let job = &json["jobs"][0];
            assert_eq!(job["read"]["iops"], 500.0);
            assert_eq!(job["read"]["bw_bytes"], 2_048_000);
            assert_eq!(job["read"]["bw"], 2000);
            assert_eq!(job["read"]["runtime"], 2000);
            assert_eq!(job["read"]["lat_ns"]["N"], 1000);
            assert!(job["read"]["lat_ns"]["percentile"]["99.900000"].is_u64());
            assert_eq!(
                (&job["usr_cpu"], &job["sys_cpu"]),
                (&json!(25.0), &json!(50.0))
            );
            assert_eq!(job["ctx"], 100);
            assert_eq!(job["cpu_us_per_io"], 1500.0);
            assert_eq!(job["ctx_per_io"], 0.1);
        });
    }

    #[test]
    fn nothing_read_is_unknown_not_nan() {
        reported(0, |report| {
            let job = &report.to_json()["jobs"][0];
            assert!(job["cpu_us_per_io"].is_null() && job["read"]["lat_ns"].is_null());
            assert!(report.to_table().contains('-'));
        });
    }
}
