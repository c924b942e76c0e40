//! Choices of cases.

use clap::ValueEnum;
use wgpu_norm::wgpu;
use wgpu_norm_tools::around::Around;

use super::case::{BenchCase, Format, Pass, Variant};
use Variant::{AdaptiveInstance, BatchInference, BatchTraining, Group, Instance, Layer, Lp, Rms};

/// A choice of cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// Each kind of norm once or twice: about a minute even without a GPU.
    Quick,
    /// The shapes by which the schedules are judged, forward and backward.
    Reference,
    /// Widths around powers of two, and the layers of ResNets, diffusion models and transformers.
    Standard,
    /// All of it, with every width, every norm on every layer, and volumes.
    Full,
    /// Large real cases for a GPU, most of 1 GiB a tensor: rows, the layers of ResNet-50, diffusion models and
    /// transformers. On a software adapter (eight minutes), and where a tensor fits no binding, they have fewer
    /// samples, as the report then says.
    Gpu,
    /// Norms with what networks put around them, each beside the norm alone and the bytes that kernels of their own
    /// would move for the rest.
    Fused,
}

/// Cases as a device runs them.
pub struct Fitted {
    /// Each once.
    pub cases: Vec<BenchCase>,
    /// How many of them have fewer samples than in the suite, and why.
    pub notes: Vec<String>,
}

impl Suite {
    /// Its cases; those of the same operands follow each other.
    pub fn cases(self) -> Vec<BenchCase> {
        unique(match self {
            Self::Quick => quick(),
            Self::Reference => reference(),
            Self::Standard => standard(),
            Self::Full => [reference(), standard(), full()].concat(),
            Self::Gpu => gpu(),
            Self::Fused => fused(),
        })
    }

    /// Cases of the suite as a device can run them: the large ones of `gpu` with fewer samples on a processor, where a
    /// tensor has about `small` bytes, and where a tensor fits no binding. All other cases are what they are called.
    pub fn fitted(self, cases: &[BenchCase], small: u64, device: wgpu::DeviceType, limits: &wgpu::Limits) -> Fitted {
        let mut fitted = Fitted { cases: cases.to_vec(), notes: Vec::new() };
        if self != Self::Gpu {
            return fitted;
        }
        if device == wgpu::DeviceType::Cpu {
            let mib = small >> 20;
            fitted.shrink(small, &format!("a tensor has about {mib} MiB, or one sample: this adapter is a processor"));
        }
        let most = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        fitted.shrink(most, &format!("a tensor fits a binding of this device, which has at most {most} bytes"));
        fitted.cases = unique(fitted.cases);
        fitted
    }
}

impl Fitted {
    /// Takes samples from tensors of more than so many bytes, and says so.
    fn shrink(&mut self, bytes: u64, why: &str) {
        let shrunk: Vec<BenchCase> = self.cases.iter().map(|case| case.within(bytes)).collect();
        let fewer = shrunk.iter().zip(&self.cases).filter(|(shrunk, case)| shrunk != case).count();
        if fewer > 0 {
            self.notes.push(format!("{fewer} of {} cases have fewer samples, so that {why}", self.cases.len()));
        }
        self.cases = shrunk;
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

/// Bytes of a large tensor.
const LARGE: u64 = 1 << 30;
/// Bytes of the same case's tensor on a processor, where it takes as long as a large one on a GPU.
pub const SMALL: u64 = 4 << 20;
/// Widths of large rows: held by few lanes, by many, by none; and odd ones.
const LARGE_ROWS: [u64; 7] = [256, 1024, 4096, 8192, 65536, 1023, 4095];
/// The widths of Llama's layers.
const LLAMA: [u64; 3] = [4096, 5120, 8192];
/// Width of a head, whose queries and keys are normalized, and how many of them a batch has.
const HEAD: u64 = 128;
const HEADS: u64 = 1 << 17;
/// Tokens of an image, and the widths of vision transformers.
const TOKENS: u64 = 197;
const VIT: [u64; 2] = [768, 1024];
/// Channels and edge of the widest batch norm of each part of a ResNet-50, and samples of a batch.
const RESNET_WIDEST: [[u64; 2]; 5] = [[64, 112], [256, 56], [512, 28], [1024, 14], [2048, 7]];
const RESNET_BATCH: u64 = 256;
/// Channels and edge of the decoder that makes an image of what a diffusion model gives.
const DECODER: [[u64; 2]; 3] = [[128, 512], [256, 256], [512, 64]];

/// As many samples as make a large tensor, at most.
fn fill(sample: u64) -> u64 {
    LARGE / (4 * sample)
}

fn gpu() -> Vec<BenchCase> {
    let of_rows = [Layer(1), Rms(1)]
        .into_iter()
        .flat_map(|variant| LARGE_ROWS.into_iter().flat_map(move |width| both(rows(variant, fill(width), width))));
    let heads = [HEADS, fill(HEAD)].into_iter().flat_map(|count| both(rows(Rms(1), count, HEAD)));
    let llama = LLAMA.into_iter().flat_map(|width| both(rows(Rms(1), fill(width), width)));
    // of an odd number of images, so that the number of rows is odd too
    let images = |width| (fill(TOKENS * width) - 1) | 1;
    let vit = VIT.into_iter().flat_map(|width| both(rows(Layer(1), TOKENS * images(width), width)));
    let resnet = RESNET_WIDEST.into_iter().flat_map(|[channels, edge]| {
        let all = planes(&[RESNET_BATCH, channels, edge, edge]).into_iter();
        all.filter(|case| case.variant != Instance)
    });
    let diffused = DIFFUSION.iter().chain(&DECODER);
    let diffused =
        diffused.flat_map(|&[channels, edge]| diffusion(&[fill(channels * edge * edge), channels, edge, edge]));
    of_rows.chain(heads).chain(llama).chain(vit).chain(resnet).chain(diffused).collect()
}

/// What stands between the layers of transformers, state space models, diffusion models and ResNets.
fn fused() -> Vec<BenchCase> {
    let wide = |variant, around| rows(variant, 4096, 4096).amid(around);
    let image =
        |variant, shape: &[u64], format, around| BenchCase::new(variant, shape, format, Pass::Forward).amid(around);
    let [channels, edge] = DIFFUSION[0];
    let diffused = [8, channels, edge, edge];
    let tokens = |around| image(Layer(1), &[8, 1024, 1152], Format::Rows, around);
    let cases = [
        wide(Rms(1), Around::Add),
        rows(Rms(1), 4096, 1024).amid(Around::Add),
        wide(Layer(1), Around::Add),
        rows(Layer(1), 4096, 1024).amid(Around::Add),
        wide(Rms(1), Around::AddLlama),
        wide(Rms(1), Around::GateBefore),
        wide(Rms(1), Around::GateAfter),
        image(Group(32), &diffused, Format::First, Around::Silu),
        image(Group(32), &diffused, Format::Last, Around::Silu),
        image(BatchTraining, &[32, 64, 56, 56], Format::First, Around::AddRelu),
        tokens(Around::AdaLn),
        tokens(Around::AdaLnZero),
        rows(Rms(1), HEADS, HEAD).amid(Around::Llama),
    ];
    cases.into_iter().flat_map(both).collect()
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

    #[test]
    fn large_cases_are_real_ones_of_about_a_gigabyte() {
        let cases = Suite::Gpu.cases();
        let bytes = |case: &BenchCase| 4 * case.elements();
        assert!(cases.iter().all(|case| bytes(case) <= LARGE));
        assert!(cases.iter().filter(|case| bytes(case) > LARGE / 2).count() * 3 > cases.len() * 2);
        for name in [
            "layer 1048576x256 rows forward",
            "rms 4096x65536 rows backward",
            "layer 262400x1023 rows forward",
            "rms 131072x128 rows forward",
            "rms 52428x5120 rows backward",
            "layer 349281x768 rows forward",
            "batch training 256x64x112x112 channels-first training",
            "batch inference 256x2048x7x7 channels-last forward",
            "group 32 256x512x28x28 channels-first backward",
            "group 32 204x320x64x64 channels-last forward",
            "group 32 8x128x512x512 channels-first forward",
        ] {
            assert!(cases.iter().any(|case| case.name() == name), "{name}");
        }
    }

    #[test]
    fn large_cases_have_fewer_samples_where_they_have_to() {
        let (cpu, gpu) = (wgpu::DeviceType::Cpu, wgpu::DeviceType::DiscreteGpu);
        let limits = |most| wgpu::Limits {
            max_storage_buffer_binding_size: most,
            max_buffer_size: 2 << 30,
            ..wgpu::Limits::defaults()
        };
        let wide = limits(2 << 30);
        let cases = [
            rows(Layer(1), 1 << 20, 256),
            rows(Layer(1), 1 << 10, 256),
            BenchCase::new(Group(32), &[8, 128, 512, 512], Format::Last, Pass::Forward),
        ];
        for (suite, device, limits, shapes, notes) in [
            (Suite::Gpu, gpu, &wide, ["1048576x256", "1024x256", "8x128x512x512"], [None, None]),
            (Suite::Full, cpu, &limits(1 << 20), ["1048576x256", "1024x256", "8x128x512x512"], [None, None]),
            (Suite::Gpu, gpu, &limits(1 << 29), ["524288x256", "1024x256", "4x128x512x512"], [Some("536870912"), None]),
            (Suite::Gpu, cpu, &wide, ["4096x256", "1024x256", "1x128x512x512"], [Some("about 4 MiB"), None]),
            (
                Suite::Gpu,
                cpu,
                &limits(1 << 19),
                ["512x256", "512x256", "1x128x512x512"],
                [Some("2 of 3 cases"), Some("524288")],
            ),
        ] {
            let fitted = suite.fitted(&cases, SMALL, device, limits);
            let mut expected = shapes.to_vec();
            expected.dedup();
            assert_eq!(fitted.cases.iter().map(BenchCase::shape_name).collect::<Vec<_>>(), expected, "{suite:?}");
            let wanted: Vec<&str> = notes.into_iter().flatten().collect();
            assert_eq!(fitted.notes.len(), wanted.len(), "{:?}", fitted.notes);
            assert!(fitted.notes.iter().zip(wanted).all(|(note, part)| note.contains(part)), "{:?}", fitted.notes);
        }
    }
}
