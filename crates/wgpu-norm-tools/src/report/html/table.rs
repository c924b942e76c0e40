//! Every row of a report and of those beside it.

use maud::{Markup, html};

use super::{digits, percent};
use crate::report::{Report, Row};

const HEADER: [&str; 13] =
    ["norm", "shape", "format", "pass", "by", "type", "ms", "p20..p80", "GB/s", "% of roof", "of", "error", "schedule"];

/// The table.
pub(super) fn section(report: &Report, earlier: &[Report]) -> Markup {
    html! {
        section {
            h2 { "All rows" }
            @if report.rows.is_empty() { p { "None." } } @else { (table(&report.rows)) }
            @for other in earlier {
                h3 { (other.command) ", " (other.date) ", on " (other.adapter) }
                (table(&other.rows))
            }
        }
    }
}

fn table(rows: &[Row]) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table.rows {
                thead { tr { @for name in HEADER { th { (name) } } } }
                tbody { @for row in rows { (line(row)) } }
            }
        }
    }
}

fn line(row: &Row) -> Markup {
    let error = match row.error {
        Some(f64::MAX) => "NaN".to_owned(),
        Some(error) => format!("{error:.1e}"),
        None => String::new(),
    };
    html! {
        tr {
            @for text in row.case() { td { (text) } }
            td { (row.peer.as_deref().unwrap_or("ours")) }
            td { (row.types()) }
            td.number { (digits(row.median_ms)) }
            td.number { (digits(row.p20_ms)) ".." (digits(row.p80_ms)) }
            td.number { (digits(row.gbps)) }
            td.number { (percent(row.ratio)) }
            td { (row.roof_elements) "E " (row.roof.name().replace('_', "-")) }
            td.number.bad[!row.is_right()] { (error) }
            td { (row.schedule) }
        }
    }
}
