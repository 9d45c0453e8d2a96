//! The feature `tracing`: what the loop tells a collector.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ambidex::Engine;
use ambidex_tests::loops::run_on;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

type Fields = BTreeMap<&'static str, String>;

/// Keeps the events of target `ambidex`.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(Level, Fields)>>>);

struct Seen(Fields);

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "ambidex"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut seen = Seen(Fields::new());
        event.record(&mut seen);
        let level = *event.metadata().level();
        self.0.lock().unwrap().push((level, seen.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn each_number_of_the_metrics_is_a_field_and_has_its_value() {
    let collector = Collector::default();
    tracing::subscriber::with_default(collector.clone(), || {
        let mut engine = Engine::new().expect("an engine");
        run_on(&mut engine, async |io| {
            let own = io.clone();
            let tracer = io.spawn(async move { own.trace(Duration::from_millis(1)).await });
            while collector.0.lock().unwrap().len() < 3 {
                io.sleep(Duration::from_millis(1)).await;
            }
            tracer.abort();
        });
    });
    let events = collector.0.lock().unwrap();
    let told: Vec<&Fields> = events
        .iter()
        .filter(|(level, _)| *level == Level::INFO)
        .map(|(_, fields)| fields)
        .collect();
    let expected = [
        "calls",
        "calls_elsewhere",
        "completed",
        "enter_max_us",
        "enters",
        "events",
        "in_flight",
        "interrupted",
        "message",
        "polls",
        "sleeps",
        "spurious",
        "submitted",
        "tasks",
        "turns",
        "waiting",
    ];
    for fields in &told {
        assert!(fields.keys().eq(expected.iter()), "{fields:?}");
        assert_eq!(
            (&fields["message"][..], &fields["tasks"][..]),
            ("metrics", "1")
        );
    }
    let turns = told.iter().map(|fields| fields["turns"].parse::<u64>());
    let turns: Vec<u64> = turns.map(|turns| turns.expect("a number")).collect();
    assert!(turns.len() >= 3 && turns.is_sorted_by(|one, next| one < next));
}
