//! Which plots show a result.

use super::{Axis, Bars, Lines, Plot};
use crate::results::{self, Results, Round};
use crate::statistics::{median, paired_ratio};

pub(super) fn of(results: &Results, rounds: &[Round]) -> Vec<Plot> {
    let mut plots = Vec::new();
    match results.kind.as_str() {
        "scale" => {
            plots.extend(scaling(rounds, "us/event", "Time for each event"));
            plots.extend(scaling(
                rounds,
                "scanned/event",
                "Descriptors looked at for each event",
            ));
        }
        "mixed" => {
            for (name, title) in [
                (
                    "hot requests/s",
                    "Hot requests a second: beside cold files / alone (1 is no interference)",
                ),
                (
                    "hot p99 us",
                    "99th percentile of hot requests: beside cold files / alone (1 is no interference)",
                ),
                (
                    "cold requests/s",
                    "Cold requests a second: beside hot ones / alone (1 is no interference)",
                ),
            ] {
                plots.extend(interference(rounds, name, title));
            }
        }
        _ => {
            for name in [
                "messages/s",
                "server cpu us/message",
                "read IOPS",
                "write IOPS",
                "cpu us/io",
            ] {
                plots.extend(bars(rounds, name));
            }
        }
    }
    plots.extend(latencies(rounds));
    plots
}

/// The median of each group.
fn bars(rounds: &[Round], name: &str) -> Option<Plot> {
    let groups = results::groups(rounds).into_iter();
    let bars = groups.filter_map(|group| {
        let value = results::median_of(rounds, group, name)?;
        Some((group.to_owned(), value))
    });
    let bars: Vec<(String, f64)> = bars.collect();
    (!bars.is_empty()).then(|| {
        Plot::Bars(Bars {
            title: format!("{name}, medians"),
            bars,
            mark: None,
        })
    })
}

/// For each target the median of the rounds' ratios of B to hot or cold alone.
fn interference(rounds: &[Round], name: &str, title: &str) -> Option<Plot> {
    let targets = results::groups(rounds).into_iter();
    let targets = targets.filter_map(|group| group.strip_suffix('B'));
    let alone = if name.starts_with("cold") { 'D' } else { 'C' };
    let bars = targets.filter_map(|target| {
        let over = results::values(rounds, &format!("{target}B"), name);
        let under = results::values(rounds, &format!("{target}{alone}"), name);
        let pairs = over.iter().filter_map(|(round, value)| {
            let found = under.iter().find(|(number, _)| number == round)?;
            Some((*value, found.1))
        });
        let (over, under): (Vec<f64>, Vec<f64>) = pairs.unzip();
        let label = match target.trim() {
            "" => "server",
            named => named,
        };
        Some((label.to_owned(), paired_ratio(&over, &under)?))
    });
    let bars: Vec<(String, f64)> = bars.collect();
    (!bars.is_empty()).then(|| {
        Plot::Bars(Bars {
            title: title.to_owned(),
            bars,
            mark: Some(1.0),
        })
    })
}

/// A figure of groups named `WATCHER, N pairs` over N.
fn scaling(rounds: &[Round], name: &str, title: &str) -> Option<Plot> {
    let split = |group: &str| -> Option<(String, f64)> {
        let (watcher, pairs) = group.strip_suffix(" pairs")?.rsplit_once(", ")?;
        Some((watcher.to_owned(), pairs.parse().ok()?))
    };
    let mut series: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for group in results::groups(rounds) {
        let found = split(group).zip(results::median_of(rounds, group, name));
        let Some(((watcher, pairs), value)) = found else {
            continue;
        };
        match series.iter_mut().find(|(known, _)| *known == watcher) {
            Some((_, points)) => points.push((pairs, value)),
            None => series.push((watcher, vec![(pairs, value)])),
        }
    }
    for (_, points) in &mut series {
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
    }
    (!series.is_empty()).then(|| {
        Plot::Lines(Lines {
            title: title.to_owned(),
            x: (Axis::Log, "watched pairs"),
            y: if name.starts_with("us") {
                "us"
            } else {
                "descriptors"
            },
            series,
        })
    })
}

/// A plot for each kind of latency, a curve for each group: at each percentile the median of rounds.
fn latencies(rounds: &[Round]) -> Vec<Plot> {
    let counted: Vec<&Round> = rounds
        .iter()
        .filter(|round| round.failure.is_none())
        .collect();
    let all = || counted.iter().flat_map(|round| &round.curves);
    let names = results::distinct(all().map(|curve| curve.name.as_str()));
    let plot = |name: &str| {
        let of_group = |group: &str| {
            let own = counted.iter().filter(|round| round.group == group);
            let curves = own.flat_map(|round| &round.curves);
            let curves: Vec<&[(f64, f64)]> = curves
                .filter(|curve| curve.name == name)
                .map(|curve| curve.points.as_slice())
                .collect();
            (group.to_owned(), middle(&curves))
        };
        let series = results::groups(rounds).into_iter().map(of_group);
        Plot::Lines(Lines {
            title: name.to_owned(),
            x: (Axis::Nines, "percentile"),
            y: "us",
            series: series.filter(|(_, points)| !points.is_empty()).collect(),
        })
    };
    names.into_iter().map(plot).collect()
}

fn middle(curves: &[&[(f64, f64)]]) -> Vec<(f64, f64)> {
    let Some(first) = curves.first() else {
        return Vec::new();
    };
    let at = |percentile: f64| {
        let points = curves.iter().flat_map(|points| points.iter());
        let same = points.filter(|(one, _)| *one == percentile);
        median(&same.map(|(_, us)| *us).collect::<Vec<f64>>())
    };
    let points = first
        .iter()
        .filter_map(|(percentile, _)| Some((*percentile, at(*percentile)?)));
    points.collect()
}
