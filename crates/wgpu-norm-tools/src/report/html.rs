//! A report as one page: no script, nothing fetched, light and dark.
//!
//! `maud` escapes whatever is put into it, so no text of a report becomes markup.

mod axis;
mod bars;
mod heat;
mod picture;
mod plot;
mod table;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::beside::{self, geometric_mean};
use super::compare::Comparison;
use super::{Report, Row, SOFTWARE, TOLERANCE};
pub use picture::picture;

const STYLE: &str = include_str!("html/page.css");
/// The page needs its own style and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
/// Both ways through a network, in words, and whether it is backward.
const WAYS: [(&str, bool); 2] = [("Forward", false), ("Backward", true)];

/// The whole page: a report, earlier ones beside it, and what changed since one of them.
pub fn page(report: &Report, earlier: &[Report], comparison: Option<&Comparison<'_>>) -> String {
    let shown = beside::shown(report, earlier);
    let ours: Vec<&Row> = report.rows.iter().filter(|row| row.peer.is_none()).collect();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { "wgpu-norm bench: " (report.adapter) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "wgpu-norm bench" }
                (facts(report))
                (remarks(report))
                (tiles(&ours))
                (plot::section(report, &ours))
                (heat::section(&ours))
                (bars::beside(&shown))
                @if let Some(comparison) = comparison { (bars::comparison(comparison)) }
                (table::section(report, earlier))
                (skipped(report))
            }
        }
    };
    page.into_string()
}

/// Rows of one way through a network.
fn of_way<'a>(rows: &[&'a Row], backward: bool) -> Vec<&'a Row> {
    rows.iter().copied().filter(|row| (row.pass == "backward") == backward).collect()
}

/// Where, when and how.
fn facts(report: &Report) -> Markup {
    let roofs = report.roofs.iter().map(|(roof, gbps)| format!("{} {}", roof.name().replace('_', "-"), digits(*gbps)));
    let roofs = roofs.collect::<Vec<_>>().join(", ");
    let facts = [
        ("Adapter", report.adapter.clone()),
        ("Backend", format!("{}, {}", report.backend, report.device_type)),
        ("Driver", report.driver.clone()),
        ("Date", report.date.clone()),
        ("Version", report.version.clone()),
        ("Clock", report.clock.clone()),
        ("Cold start", format!("{} ms to the first result", digits(report.cold_start_ms))),
        ("Roofs", if roofs.is_empty() { "none".to_owned() } else { format!("{roofs} GB/s") }),
    ];
    html! {
        dl.facts {
            @for (name, value) in facts { div { dt { (name) } dd { (value) } } }
            div.wide { dt { "Command" } dd { code { (report.command) } } }
        }
    }
}

fn remarks(report: &Report) -> Markup {
    let wrong = report.wrong();
    html! {
        @if report.is_software() { p.remark { "This is a " (SOFTWARE) "." } }
        @for note in &report.notes { p.remark { (note) "." } }
        @if wrong > 0 {
            p.remark.bad { (wrong) " rows have errors above " (format!("{TOLERANCE:.0e}")) " of the largest value." }
        }
    }
}

/// The two numbers that say most.
fn tiles(ours: &[&Row]) -> Markup {
    let tile = |name: &str, rows: &[&Row]| {
        let rows = rows.iter().filter(|row| is_positive(row.ratio));
        let lowest = rows.clone().min_by(|a, b| a.ratio.total_cmp(&b.ratio));
        let ratios: Vec<f64> = rows.map(|row| row.ratio).collect();
        html! {
            @if let Some(lowest) = lowest {
                div.tile {
                    div.name { (name) ", geometric mean of " (ratios.len()) }
                    div.value { (percent(geometric_mean(ratios.into_iter()))) span { " % of the roof" } }
                    div.name { "lowest " (percent(lowest.ratio)) " %: " (lowest.name()) }
                }
            }
        }
    };
    html! { div.tiles { @for (name, backward) in WAYS { (tile(name, &of_way(ours, backward))) } } }
}

fn skipped(report: &Report) -> Markup {
    html! {
        @if !report.skipped.is_empty() {
            h2 { "Skipped" }
            ul {
                @for skipped in &report.skipped { li { (skipped.text()) } }
            }
        }
    }
}

/// What can be drawn, and has a logarithm.
fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

/// A share in percent; a dash where it is no number.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent.abs() {
        size if !size.is_finite() => "–".to_owned(),
        size if size >= 1e5 => format!("{percent:.1e}"),
        size if size < 10.0 => format!("{percent:.1}"),
        _ => format!("{percent:.0}"),
    }
}

/// Three digits that count; a dash where there is no number.
fn digits(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "–".to_owned(),
        size if size >= 1e6 || (size > 0.0 && size < 1e-3) => format!("{value:.2e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    const EVIL: &str = r#"<script>alert("1")</script>&'"#;

    /// What every page and image has to be, whatever is in it.
    fn check(report: &Report, earlier: &[Report]) -> String {
        let page = page(report, earlier, Some(&Comparison::new(&earlier[0], report)));
        let picture = picture(report, earlier);
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"), "{page}");
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>"), "{picture}");
        // a NaN that was measured is shown
        check_markup(&page.replace(">NaN<", "><"));
        check_markup(&picture.replacen("http:", "", 1));
        page
    }

    fn check_markup(page: &str) {
        for wrong in ["<script", "NaN", "inf\"", "http:", "https:", "url(", "@import"] {
            assert!(!page.contains(wrong), "{wrong} in\n{page}");
        }
        for tag in ["div", "table", "svg", "g", "path", "section", "details", "p", "text"] {
            let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn no_text_of_a_report_becomes_markup() {
        let mut run = report();
        let evil = || EVIL.to_owned();
        run.rows.push(Row { format: "rows".to_owned(), pass: "backward".to_owned(), ..run.rows[0].clone() });
        for row in &mut run.rows {
            (row.variant, row.shape, row.format, row.pass, row.dtype, row.schedule) =
                (evil() + &row.variant, evil(), evil() + &row.format, evil(), evil(), evil());
        }
        run.rows[1].peer = Some(evil());
        for text in [&mut run.adapter, &mut run.driver, &mut run.backend, &mut run.device_type, &mut run.date] {
            *text = evil();
        }
        for text in [&mut run.command, &mut run.clock, &mut run.version] {
            *text = evil();
        }
        let skipped = &mut run.skipped[0];
        (skipped.variant, skipped.shape, skipped.why) = (evil(), evil(), evil());
        skipped.peer = Some(evil());
        run.notes = vec![evil()];
        let mut before = run.clone();
        before.rows[0].median_ms *= 3.0;
        before.adapter = "b".to_owned() + EVIL;
        before.rows.push(Row { variant: "x".to_owned() + EVIL, ..before.rows[0].clone() });
        let page = check(&run, std::slice::from_ref(&before));
        assert!(page.matches("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;'").count() > 20, "{page}");
    }

    #[test]
    fn pages_of_any_size_can_be_drawn() {
        let row = report().rows[0].clone();
        let with = |rows: Vec<Row>| Report { rows, ..report() };
        let no_roofs = |report: Report| Report { roofs: [].into(), skipped: Vec::new(), ..report };
        let odd = |value: f64| Row {
            ratio: value,
            gbps: value,
            median_ms: value,
            p20_ms: value,
            p80_ms: value,
            ..row.clone()
        };
        let odd: Vec<Row> = [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e-300, f64::MAX].map(odd).to_vec();
        let shaped =
            |i: u64| Row { shape: format!("{i}x{}", i * i), variant: format!("norm {}", i % 11), ..row.clone() };
        for (what, report) in [
            ("empty", no_roofs(with(Vec::new()))),
            ("one row", with(vec![row.clone()])),
            ("no roofs", no_roofs(with(vec![row.clone()]))),
            ("no numbers", with(odd.clone())),
            ("one number", with(vec![Row { roof_gbps: f64::NAN, error: None, shape: "?".to_owned(), ..row.clone() }])),
            ("misplaced NaN", with(vec![Row { error: Some(f64::MAX), ..row.clone() }])),
            ("many rows", with((0..500).map(shaped).collect())),
            ("a peer alone", with(vec![Row { peer: Some("p".to_owned()), ..row.clone() }])),
        ] {
            let page = check(&report, std::slice::from_ref(&report));
            assert!(page.len() < 4 << 20, "{what}: {} bytes", page.len());
        }
    }

    #[test]
    fn numbers_have_the_digits_that_count() {
        for (value, expected) in [
            (f64::NAN, "–"),
            (0.0, "0.000"),
            (0.1234, "0.123"),
            (4.567, "4.57"),
            (45.67, "45.7"),
            (1234.5, "1234"),
            (1e9, "1.00e9"),
        ] {
            assert_eq!(digits(value), expected);
        }
        for (share, expected) in [(f64::INFINITY, "–"), (0.033, "3.3"), (0.956, "96"), (1e9, "1.0e11")] {
            assert_eq!(percent(share), expected);
        }
    }
}
