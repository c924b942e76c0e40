//! Ours beside others, and beside an earlier run.

use maud::{Markup, html};

use super::{digits, is_positive, percent};
use crate::report::beside::{self, Shown};
use crate::report::compare::{Change, Comparison, Verdict};

/// Least factor that fills half the width, so that small changes look small.
const LEAST_SCALE: f64 = 1.5;

/// GB/s of each case that somebody else has too.
pub(super) fn beside(shown: &[Shown<'_>]) -> Markup {
    let cases: Vec<&[Shown<'_>]> = shown.chunk_by(|_, next| next.by.is_some()).filter(|case| case.len() > 1).collect();
    let most = cases.iter().flat_map(|case| case.iter()).map(|shown| shown.row.gbps).filter(|gbps| gbps.is_finite());
    let most = most.fold(f64::MIN_POSITIVE, f64::max);
    html! {
        @if !cases.is_empty() {
            section {
                h2 { "Beside others" }
                p.caption { "GB/s by the same count of bytes; the factor says how many times as fast ours is." }
                @for line in beside::summary(shown).trim().lines() { p.sum { (line) } }
                div.scroll.cases tabindex="0" {
                    @for case in cases {
                        div.case {
                            div.name { (case[0].row.name()) }
                            @for shown in case { (bar(shown, most)) }
                        }
                    }
                }
            }
        }
    }
}

fn bar(Shown { row, by, faster }: &Shown<'_>, most: f64) -> Markup {
    let width = if is_positive(row.gbps) { row.gbps / most * 100.0 } else { 0.0 };
    let class = if by.is_none() { "ours" } else { "other" };
    html! {
        div.bar {
            span.who { (by.as_deref().unwrap_or("ours")) }
            span.track { span class=(class) style=(format!("width:{width:.1}%")) {} }
            span.number {
                (digits(row.gbps)) " GB/s"
                @if let Some(faster) = faster { " " b.slow[*faster < 1.0] { (digits(*faster)) "x" } }
            }
        }
    }
}

/// Every case of both runs, those that changed open to the eye.
pub(super) fn comparison(comparison: &Comparison<'_>) -> Markup {
    let scale = comparison.changes.iter().map(|change| change.faster.ln().abs()).fold(LEAST_SCALE.ln(), f64::max);
    let (same, changed): (Vec<&Change<'_>>, Vec<&Change<'_>>) =
        comparison.changes.iter().partition(|change| change.verdict == Verdict::Same);
    html! {
        section {
            h2 { "Against " (comparison.title()) }
            p.caption {
                "How many times as fast, next to the roof that was measured in turn with each row: the load of the machine does "
                "not matter. Left of the middle: slower."
            }
            @for difference in &comparison.differences { p.remark { "Note: " (difference) "." } }
            @for line in comparison.summary() { p.sum { (line) } }
            @for line in comparison.remarks() { p.sum { (line) } }
            @if !changed.is_empty() { (changes(&changed, scale)) }
            @if !same.is_empty() {
                details { summary { (same.len()) " within the noise" } (changes(&same, scale)) }
            }
        }
    }
}

fn changes(changes: &[&Change<'_>], scale: f64) -> Markup {
    html! {
        div.scroll.cases tabindex="0" {
            @for Change { before, now, faster, verdict } in changes {
                div.change {
                    span.name { (now.name()) }
                    (middle_bar(faster.ln() / scale, *verdict))
                    span.number {
                        b.slow[*verdict == Verdict::Slower] { (digits(*faster)) "x" } ", "
                        (percent(before.ratio)) " % " (before.roof_elements) "E to "
                        (percent(now.ratio)) " % " (now.roof_elements) "E"
                    }
                }
            }
        }
    }
}

/// From the middle to the right for a share above 0, else to the left.
fn middle_bar(share: f64, verdict: Verdict) -> Markup {
    let (from, width) = (50.0 + 50.0 * share.min(0.0), 50.0 * share.abs());
    html! {
        svg.middle viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
            rect class=(verdict.name()) x=(format!("{from:.2}")) y="1" width=(format!("{width:.2}")) height="8" {}
            path d="M50 0V10" {}
        }
    }
}
