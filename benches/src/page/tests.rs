//! What the pages show of each command's results.

use super::*;
use crate::results::samples;

fn titles(section: &Section) -> Vec<&str> {
    let plots = section.plots.iter();
    let titles = plots.map(|plot| match plot {
        Plot::Lines(lines) => lines.title.as_str(),
        Plot::Bars(bars) => bars.title.as_str(),
    });
    titles.collect()
}

#[test]
fn each_command_has_its_plots() {
    let drawn = |results: &Results| titles(&Section::of(results)).join("; ");
    assert_eq!(drawn(&samples::http(&[100.0], None)), "latency");
    let mixed = drawn(&samples::mixed(&[100.0]));
    assert!(
        mixed.contains("Hot requests a second") && mixed.contains("hot latency"),
        "{mixed}"
    );
    let scale = drawn(&samples::scale());
    assert!(
        scale.contains("Time for each event") && scale.contains("looked at"),
        "{scale}"
    );
    let disk = drawn(&samples::disk());
    assert_eq!(disk, "read IOPS, medians; cpu us/io, medians; read latency");
    assert_eq!(drawn(&samples::unknown()), "");
}

#[test]
fn interference_is_the_ratio_of_the_rounds() {
    let section = Section::of(&samples::mixed(&[100.0, 10.0, 1000.0]));
    let Some(Plot::Bars(bars)) = section.plots.first() else {
        panic!("bars first");
    };
    assert_eq!(bars.bars, [("<ours>".to_owned(), 0.1)]);
    assert_eq!(bars.mark, Some(1.0));
}

#[test]
fn scaling_is_a_curve_for_each_watcher() {
    let section = Section::of(&samples::scale());
    let Some(Plot::Lines(lines)) = section.plots.first() else {
        panic!("lines first");
    };
    let poll = vec![(100.0, 2.0), (1000.0, 20.0)];
    let epoll = vec![(100.0, 1.0), (1000.0, 1.0)];
    assert_eq!(
        lines.series,
        [("poll".to_owned(), poll), ("epoll".to_owned(), epoll)]
    );
}

#[test]
fn what_a_result_says_is_text_and_no_markup() {
    let mut results = samples::mixed(&[100.0]);
    results.value["command"] = serde_json::json!(["x", "</dd><script>alert(1)</script>"]);
    results.value["commit"] = "a|b\n<i>".into();
    let page = html(&[results.clone(), samples::unknown()]);
    assert!(!page.contains("<script") && !page.contains("<ours>") && !page.contains("<i>"));
    assert!(page.contains("&lt;script&gt;alert(1)") && page.contains("&lt;ours&gt; B"));
    // Of an unknown command everything is shown.
    assert!(page.contains("answer.of[1]</td><td>&lt;b&gt;"), "{page}");
    let text = markdown(&[results]);
    assert!(
        text.contains("commit: a\\|b &lt;i>") && !text.contains("<script"),
        "{text}"
    );
}

#[test]
fn what_does_not_count_is_said() {
    let mut results = samples::http(&[100.0, 5.0], Some("interrupted after 0.1 s"));
    results.value["interrupted"] = true.into();
    let said = Section::of(&results).remarks;
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(
        said[1],
        "http, round 2, does not count: interrupted after 0.1 s"
    );
    for page in [html(&[results.clone()]), markdown(&[results])] {
        assert!(page.contains("Interrupted: this is a part"), "{page}");
    }
}

#[test]
fn a_page_names_what_it_was_measured_on_and_with() {
    for page in [html(&[samples::disk()]), markdown(&[samples::disk()])] {
        for expected in [
            "Linux 6.1",
            "abc",
            "2 x p",
            "ambidex-bench disk",
            "Tue, 14 Nov 2023",
        ] {
            assert!(page.contains(expected), "{expected} in {page}");
        }
    }
}
