//! Choices of cases.

use clap::ValueEnum;

use super::case::{BenchCase, Format, Pass, Variant};
use Variant::{AdaptiveInstance, BatchInference, BatchTraining, Group, Instance, Layer, Lp, Rms};

/// A choice of cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// Each kind of norm once or twice: less than a minute even without a GPU.
    Quick,
    /// The shapes by which the schedules are judged, forward and backward.
    Reference,
    /// Widths around powers of two, and the layers of ResNets, diffusion models and transformers.
    Standard,
    /// All of it, with every width, every norm on every layer, and volumes.
    Full,
}

impl Suite {
    /// Its cases; those of the same operands follow each other.
    pub fn cases(self) -> Vec<BenchCase> {
        unique(match self {
            Self::Quick => quick(),
            Self::Reference => reference(),
            Self::Standard => standard(),
            Self::Full => [reference(), standard(), full()].concat(),
        })
    }
}

/// Each case once.
pub fn unique(cases: Vec<BenchCase>) -> Vec<BenchCase> {
    let mut unique: Vec<BenchCase> = Vec::new();
    for case in cases {
        if !unique.contains(&case) {
            unique.push(case);
        }
    }
    unique
}

/// Two sizes, and the rows of Layer and RMS.
fn rows(variant: Variant, rows: u64, width: u64) -> BenchCase {
    BenchCase::new(variant, &[rows, width], Format::Rows, Pass::Forward)
}

/// The pass that goes first, and the backward that follows it.
fn both(case: BenchCase) -> Vec<BenchCase> {
    let first = if case.variant == BatchTraining { Pass::Training } else { Pass::Forward };
    vec![case.with(first), case.with(Pass::Backward)]
}

/// Batch, instance and group norm over planes, in both formats.
fn planes(shape: &[u64]) -> Vec<BenchCase> {
    let groups = 32.min(shape[1] / 2).max(1);
    [Format::First, Format::Last]
        .into_iter()
        .flat_map(|format| {
            let case = move |variant| BenchCase::new(variant, shape, format, Pass::Forward);
            let trained = [BatchTraining, Instance, Group(groups)].into_iter().flat_map(move |v| both(case(v)));
            [case(BatchInference)].into_iter().chain(trained)
        })
        .collect()
}

/// Group norm as diffusion models have it, in both formats.
fn diffusion(shape: &[u64]) -> Vec<BenchCase> {
    let case = |format| both(BenchCase::new(Group(32), shape, format, Pass::Forward));
    [case(Format::First), case(Format::Last)].concat()
}

/// Few segments, each larger than a chip: Layer over all axes but the first, Group with one group.
fn few_and_huge(samples: u64, len: u64) -> Vec<BenchCase> {
    let group = BenchCase::new(Group(1), &[samples, 64, len / 64], Format::First, Pass::Forward);
    [both(rows(Layer(1), samples, len)), both(group)].concat()
}

/// Rows of a width and its neighbours, as many as make so many elements.
fn around(variant: Variant, width: u64, elements: u64) -> Vec<BenchCase> {
    let widths = [width - 1, width, width + 1].into_iter().filter(|&width| width > 0);
    widths.flat_map(|wide| both(rows(variant, (elements / width).max(1), wide))).collect()
}

/// Rows of every length, one that is no multiple of 4, one that the whole device has to share; images in both formats.
fn quick() -> Vec<BenchCase> {
    let image = |variant, format| BenchCase::new(variant, &[8, 64, 60, 60], format, Pass::Forward);
    [
        both(rows(Layer(1), 4096, 1024)),
        vec![rows(Layer(1), 4096, 1023), rows(Layer(1), 16384, 64), rows(Layer(1), 1, 1 << 22)],
        both(rows(Rms(1), 1024, 4096)),
        vec![image(BatchInference, Format::First)],
        both(image(BatchTraining, Format::First)),
        vec![image(Instance, Format::First)],
        both(image(Group(32), Format::First)),
        both(image(Group(32), Format::Last)),
    ]
    .concat()
}

fn reference() -> Vec<BenchCase> {
    const ROWS: [[u64; 2]; 5] = [[4096, 1024], [1024, 4096], [64, 65536], [16384, 64], [4096, 1023]];
    const PLANES: [[u64; 4]; 5] =
        [[8, 64, 120, 120], [5, 256, 32, 32], [2, 32, 256, 256], [32, 256, 14, 14], [32, 512, 7, 7]];
    let of_rows =
        [Layer(1), Rms(1)].into_iter().flat_map(|v| ROWS.into_iter().flat_map(move |[n, w]| both(rows(v, n, w))));
    let of_planes = PLANES.iter().flat_map(|shape| planes(shape));
    let of_huge = [(1, 1 << 24), (4, 1 << 22)].into_iter().flat_map(|(n, len)| few_and_huge(n, len));
    of_rows.chain(of_planes).chain(of_huge).collect()
}

/// Channels and edge of the stages of a ResNet-50.
const RESNET: [[u64; 2]; 6] = [[64, 56], [256, 56], [512, 28], [1024, 14], [512, 7], [2048, 7]];
/// Channels and edge of the stages of a diffusion model of 512 x 512 images.
const DIFFUSION: [[u64; 2]; 4] = [[320, 64], [640, 32], [1280, 16], [1280, 8]];
/// Widths of transformers.
const TRANSFORMER: [u64; 8] = [768, 1024, 2048, 3072, 4096, 5120, 8192, 16384];

fn standard() -> Vec<BenchCase> {
    let widths = (6..=16).step_by(2).flat_map(|k| around(Layer(1), 1 << k, 1 << 22));
    let transformer = TRANSFORMER
        .into_iter()
        .flat_map(|width| [Layer(1), Rms(1)].into_iter().flat_map(move |variant| both(rows(variant, 2048, width))));
    let resnet = RESNET.into_iter().flat_map(|[channels, edge]| {
        let batches = planes(&[16, channels, edge, edge]).into_iter();
        batches.filter(|case| matches!(case.variant, BatchInference | BatchTraining))
    });
    let diffusion = DIFFUSION.into_iter().flat_map(|[channels, edge]| diffusion(&[2, channels, edge, edge]));
    let huge = [(1, 1 << 24), (1, 1 << 26), (8, 1 << 23)].into_iter().flat_map(|(n, len)| few_and_huge(n, len));
    widths.chain(transformer).chain(resnet).chain(diffusion).chain(huge).collect()
}

/// What `reference` and `standard` leave out.
fn full() -> Vec<BenchCase> {
    let widths = (2..=20).flat_map(|k| {
        let layer = around(Layer(1), 1 << k, 1 << 24).into_iter();
        layer.chain(around(Rms(1), 1 << k, 1 << 22)).chain([1.0, 2.0].map(|p| rows(Lp(p, 1), (1 << 22) >> k, 1 << k)))
    });
    let layers = RESNET.iter().chain(&DIFFUSION).flat_map(|&[channels, edge]| {
        let shape = [16, channels, edge, edge];
        let styled = [Format::First, Format::Last].map(|f| BenchCase::new(AdaptiveInstance, &shape, f, Pass::Forward));
        planes(&shape).into_iter().chain(styled)
    });
    let volumes: [&[u64]; 2] = [&[2, 32, 32, 64, 64], &[1, 16, 96, 96, 96]];
    let trained = TRANSFORMER.into_iter().map(|width| rows(Layer(1), 2048, width).with(Pass::Training));
    widths.chain(layers).chain(volumes.into_iter().flat_map(planes)).chain(trained).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_can_be_planned_and_have_names_of_their_own() {
        for suite in Suite::value_variants() {
            let mut names = std::collections::BTreeSet::new();
            for case in suite.cases() {
                case.case().descriptor().validate().unwrap();
                assert!(names.insert(case.name()), "{suite:?} {} twice", case.name());
            }
        }
    }

    #[test]
    fn the_reference_suite_is_the_table_of_the_bar() {
        let names: Vec<String> = Suite::Reference.cases().iter().map(BenchCase::name).collect();
        // rows, then 7 of planes in each format, then few and huge
        assert_eq!(names.len(), 2 * 5 * 2 + 5 * 2 * 7 + 2 * 2 * 2);
        for name in [
            "layer 4096x1023 rows backward",
            "batch inference 8x64x120x120 channels-last forward",
            "batch training 32x512x7x7 channels-first training",
            "batch training 32x512x7x7 channels-first backward",
            "group 16 2x32x256x256 channels-last backward",
            "group 32 5x256x32x32 channels-first forward",
            "group 1 1x64x262144 channels-first backward",
            "layer 4x4194304 rows forward",
        ] {
            assert!(names.iter().any(|other| other == name), "{name}");
        }
    }
}
