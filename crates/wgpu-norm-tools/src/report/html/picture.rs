//! The share of the roof of every case, as one image that stands alone: on a page of any colour, without scripts or
//! fonts of its own.

use maud::{Markup, PreEscaped, html};

use super::axis::{Axis, round_ticks};
use super::plot::{colour, families, family, mark};
use super::{WAYS, digits, is_positive};
use crate::report::beside::{self, geometric_mean};
use crate::report::{Report, Row, SOFTWARE};

const STYLE: &str = include_str!("picture.css");
/// Width of the image, and the edges of the area of marks.
const WIDTH: f64 = 900.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 790.0;
const TOP: f64 = 112.0;
/// From the edge of the image to its text.
const MARGIN: f64 = 20.0;
/// Right edge of the means.
const MEAN: f64 = WIDTH - MARGIN - 46.0;
/// Middle of the legend.
const LEGEND: f64 = 62.0;
/// Height of the marks of one norm in one direction, and between norms.
const LANE: f64 = 28.0;
const GAP: f64 = 12.0;
/// Below the area: the axis and the caption.
const BOTTOM: f64 = 116.0;
/// Marks nearer than this would cover each other: they stand at one of these heights.
const NEAR: f64 = 9.0;
const HEIGHTS: [f64; 3] = [0.0, -9.0, 9.0];
/// Characters that fit the width, and the names of norms.
const LINE: usize = 115;
const NAME: usize = 17;

/// A row as it is drawn.
#[derive(Clone, Copy)]
struct Dot<'a> {
    row: &'a Row,
    /// Who computed it; none: this program, in this run.
    by: Option<&'a str>,
}

/// The rows of one norm in one direction.
struct Lane<'a> {
    /// Index in [`WAYS`].
    way: usize,
    /// From the left to the right.
    dots: Vec<Dot<'a>>,
    /// Ours among them.
    ratios: Vec<f64>,
}

/// The rows of one norm.
struct Group<'a> {
    name: &'a str,
    lanes: Vec<Lane<'a>>,
}

/// The whole image: our rows, and in grey those of others.
pub fn picture(report: &Report, earlier: &[Report]) -> String {
    let others = beside::others(report, earlier);
    let dots = dots(report, &others);
    let groups = groups(report, &dots);
    let most = dots.iter().map(|dot| dot.row.ratio).fold(1.0, f64::max);
    let x = Axis::new(0.0, most * 1.02, LEFT, RIGHT);
    let bottom = TOP + groups.iter().map(Group::height).sum::<f64>();
    let height = bottom + BOTTOM;
    let image = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {height}")) width=(WIDTH) height=(height)
            role="img" aria-label="wgpu-norm bench: the share of the roof of every case" {
            style { (PreEscaped(STYLE)) }
            rect.panel x="0.5" y="0.5" width=(WIDTH - 1.0) height=(height - 1.0) rx="8" {}
            text.title x=(MARGIN) y="34" { "Speed as a share of the roof" }
            (legend(&others))
            (area(&x, most, bottom))
            @for (i, group) in groups.iter().enumerate() {
                (group.draw(&x, TOP + groups[..i].iter().map(Group::height).sum::<f64>()))
            }
            (caption(report, height))
        }
    };
    // XML has no word for these, escaped or not
    image
        .into_string()
        .replace(|c: char| c.is_control() && c != '\n' || matches!(c, '\u{fffe}' | '\u{ffff}'), "\u{fffd}")
}

/// Our rows that can be drawn, and those of others for which the report has the case.
fn dots<'a>(report: &'a Report, others: &'a [(String, &'a Row)]) -> Vec<Dot<'a>> {
    let ours = report.rows.iter().filter(|row| row.peer.is_none()).map(|row| Dot { row, by: None });
    let others = others.iter().map(|(by, row)| Dot { row, by: Some(by) });
    let others = others.filter(|dot| report.rows.iter().any(|row| row.is_same_case(dot.row)));
    let mut dots: Vec<Dot<'_>> =
        ours.chain(others).filter(|dot| is_positive(dot.row.ratio) && dot.row.ratio < 1e300).collect();
    dots.sort_by(|a, b| a.row.ratio.total_cmp(&b.row.ratio));
    dots
}

/// In the order of the report, then the means of all, whose marks stand above.
fn groups<'a>(report: &'a Report, dots: &[Dot<'a>]) -> Vec<Group<'a>> {
    let of = |name| dots.iter().copied().filter(|dot| family(dot.row) == name).collect::<Vec<_>>();
    let families = families(report.rows.iter());
    let mut groups: Vec<Group<'_>> = families.into_iter().map(|name| Group::new(name, &of(name))).collect();
    if groups.len() > 1 {
        let Group { name, mut lanes } = Group::new("all", dots);
        lanes.retain(|lane| !lane.ratios.is_empty());
        lanes.iter_mut().for_each(|lane| lane.dots.clear());
        groups.push(Group { name, lanes });
    }
    groups.retain(|group| !group.lanes.is_empty());
    groups
}

impl<'a> Group<'a> {
    fn new(name: &'a str, dots: &[Dot<'a>]) -> Self {
        let lanes = WAYS.into_iter().enumerate().map(|(way, (_, backward))| {
            let dots = dots.iter().copied().filter(|dot| (dot.row.pass == "backward") == backward);
            let ratios = dots.clone().filter(|dot| dot.by.is_none()).map(|dot| dot.row.ratio).collect();
            Lane { way, dots: dots.collect(), ratios }
        });
        Self { name, lanes: lanes.filter(|lane| !lane.dots.is_empty()).collect() }
    }

    fn height(&self) -> f64 {
        self.lanes.len() as f64 * LANE + GAP
    }

    /// Its name, the marks, the means.
    fn draw(&self, x: &Axis, top: f64) -> Markup {
        let middle = top + self.height() / 2.0;
        let at = |i: usize| top + GAP / 2.0 + (i as f64 + 0.5) * LANE;
        html! {
            g.grid { path d=(format!("M{MARGIN} {top}H{}", WIDTH - MARGIN)) {} }
            text.name x=(MARGIN) y=(middle) dy="0.35em" { (fit(self.name, NAME)) }
            @for (i, lane) in self.lanes.iter().enumerate() { (lane.draw(x, at(i))) }
        }
    }
}

impl Lane<'_> {
    fn draw(&self, x: &Axis, y: f64) -> Markup {
        let places: Vec<f64> = self.dots.iter().map(|dot| x.at(dot.row.ratio)).collect();
        html! {
            @if !self.ratios.is_empty() {
                @let mean = geometric_mean(self.ratios.iter().copied());
                (mean_line(self.way, x.at(mean), y))
                text.end x=(MEAN) y=(y) dy="0.35em" { (digits(mean)) }
                text.quiet.end x=(WIDTH - MARGIN) y=(y) dy="0.35em" { "of " (self.ratios.len()) }
            }
            @for ((dot, at), height) in self.dots.iter().zip(&places).zip(heights(&places)) {
                (dot.draw(self.way, *at, y + height))
            }
        }
    }
}

impl Dot<'_> {
    fn draw(&self, way: usize, x: f64, y: f64) -> Markup {
        let title = format!("{}: {} of {}", self.row.name(), digits(self.row.ratio), self.row.roof.name());
        let is_hollow = self.row.format == "channels-last";
        html! {
            @match self.by {
                None => (mark(way, x, y, is_hollow, &title)),
                Some(by) => g.other { (mark(way, x, y, is_hollow, &format!("{by}: {title}"))) },
            }
        }
    }
}

fn mean_line(way: usize, x: f64, y: f64) -> Markup {
    let class = format!("mean {}", colour(way));
    html! { path class=(class) d=(format!("M{x:.1} {:.1}v{:.1}", y - LANE / 2.0 + 1.0, LANE - 2.0)) {} }
}

/// How far each mark stands from the middle of its lane, so that neighbours do not cover each other while there is
/// room.
fn heights(places: &[f64]) -> Vec<f64> {
    let mut last = [f64::NEG_INFINITY; HEIGHTS.len()];
    let heights = places.iter().map(|place| {
        let farthest = (1..last.len()).fold(0, |best, i| if last[i] < last[best] { i } else { best });
        let chosen = last.iter().position(|last| place - last >= NEAR).unwrap_or(farthest);
        last[chosen] = *place;
        HEIGHTS[chosen]
    });
    heights.collect()
}

/// What the marks mean.
fn legend(others: &[(String, &Row)]) -> Markup {
    let mut names: Vec<&str> = others.iter().map(|(by, _)| by.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    html! {
        (mark(0, 26.0, LEGEND, false, "")) (entry(38.0, LEGEND, "forward, training"))
        (mark(1, 190.0, LEGEND, false, "")) (entry(202.0, LEGEND, "backward"))
        (mark(0, 302.0, LEGEND, true, "")) (mark(1, 314.0, LEGEND, true, "")) (entry(326.0, LEGEND, "channels last"))
        (mean_line(0, 452.0, LEGEND)) (mean_line(1, 460.0, LEGEND)) (entry(472.0, LEGEND, "geometric mean"))
        @if !names.is_empty() {
            @let y = LEGEND + 22.0;
            g.other { (mark(0, 26.0, y, false, "")) (mark(1, 38.0, y, false, "")) }
            (entry(50.0, y, &fit(&format!("others: {}", names.join(", ")), LINE)))
        }
    }
}

fn entry(x: f64, y: f64, text: &str) -> Markup {
    html! { text x=(x) y=(y) dy="0.35em" { (text) } }
}

/// Values and the roof, behind the marks.
fn area(x: &Axis, most: f64, bottom: f64) -> Markup {
    let roof = format!("{:.1}", x.at(1.0));
    html! {
        g.grid {
            @for tick in round_ticks(most) {
                @let at = format!("{:.1}", x.at(tick.value));
                path d=(format!("M{at} {TOP}V{bottom}")) {}
                text.quiet.middle x=(at) y=(bottom + 18.0) { (tick.label) }
            }
            path d=(format!("M{MARGIN} {bottom}H{}", WIDTH - MARGIN)) {}
        }
        text.quiet.middle x=((LEFT + RIGHT) / 2.0) y=(bottom + 36.0) {
            "share of the roof: a kernel that only moves memory, measured in turn with each case"
        }
        path.roof d=(format!("M{roof} {TOP}V{bottom}")) {}
        text.end x=(roof) y=(TOP - 8.0) { "roof" }
        text.quiet.end x=(MEAN) y=(TOP - 8.0) { "mean" }
        @if bottom == TOP { text.middle x=((LEFT + RIGHT) / 2.0) y=(TOP - 8.0) { "Nothing was measured." } }
    }
}

/// Where, when and how.
fn caption(report: &Report, height: f64) -> Markup {
    let day = report.date.split('T').next().unwrap_or_default();
    let place = format!("{} · {} · {day} · wgpu-norm {}", report.adapter, report.driver, report.version);
    let software = if report.is_software() { SOFTWARE } else { "" };
    html! {
        @for (i, line) in [place.as_str(), &report.command, software].into_iter().enumerate() {
            text.quiet x=(MARGIN) y=(height - 52.0 + i as f64 * 18.0) { (fit(line, LINE)) }
        }
    }
}

/// At most so many characters.
fn fit(text: &str, most: usize) -> String {
    match text.chars().count() {
        count if count <= most => text.to_owned(),
        _ => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn marks_stand_side_by_side_while_there_is_room() {
        for (places, expected) in [
            (&[][..], &[][..]),
            (&[0.0, 10.0, 20.0], &[0.0, 0.0, 0.0]),
            (&[0.0, 1.0, 2.0, 9.5], &[0.0, -9.0, 9.0, 0.0]),
            (&[0.0, 1.0, 2.0, 3.0, 4.0], &[0.0, -9.0, 9.0, 0.0, -9.0]),
        ] {
            assert_eq!(heights(places), expected, "{places:?}");
        }
    }

    #[test]
    fn means_are_of_our_rows_and_others_are_grey() {
        let mut run = report();
        let row = run.rows[0].clone();
        let with = |variant: &str, pass: &str, ratio: f64| Row {
            variant: variant.to_owned(),
            pass: pass.to_owned(),
            ratio,
            ..row.clone()
        };
        run.rows.extend([with("group 8", "forward", 1.1 / 4.0), with("layer", "backward", 0.25)]);
        let mut elsewhere = report();
        elsewhere.adapter = "b".to_owned();
        elsewhere.rows.push(with("rms", "forward", 0.5));
        let image = picture(&run, &[elsewhere]);
        for (part, count) in [
            (">group</text>", 1),
            (">layer</text>", 1),
            (">all</text>", 1),
            // not measured in this run
            (">rms</text>", 0),
            // of the group, and of all
            (">0.550</text>", 2),
            ("<g class=\"other\">", 1 + 3),
            ("others: p, p on b, wgpu-norm 1.0.0 of 2025-01-02 on b", 1),
            ("a · d · 2025-01-02 · wgpu-norm 1.0.0", 1),
        ] {
            assert_eq!(image.matches(part).count(), count, "{part} in\n{image}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        for (text, expected) in [("", ""), ("groüp", "groüp"), ("groüps", "groü…")] {
            assert_eq!(fit(text, 5), expected);
        }
    }
}
