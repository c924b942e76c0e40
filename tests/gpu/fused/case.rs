//! A norm with what stands around it on the device: operands in arenas, forward and backward, against the reference.

use super::numbers::{GRADIENTS, Item, Numbers};
use crate::halves::{Arena, Place, compare};
use crate::harness::{Gpu, families};
use wgpu_norm::*;

/// Where the gradient lies that arrives at the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Arriving {
    #[default]
    None,
    Apart,
    /// Where the gradient to the input goes.
    OverInput,
    /// Where the gradient to the residual goes.
    OverResidual,
}

/// How a case departs from the plain one.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// Which families of schedules, forward and backward; 0: the chosen ones.
    pub picks: [usize; 2],
    /// Whether all operands lie in one buffer, or each in one of its own.
    pub shared: bool,
    /// Whether rows of tensors and of parameters are padded.
    pub padded: bool,
    /// Whether output and grad_input lie over what they are made of.
    pub in_place: bool,
    /// Whether what the fusion names has types of its own.
    pub typed: bool,
    /// Whether statistics are given.
    pub given: bool,
    pub arriving: Arriving,
}

pub struct Case {
    pub descriptor: NormDescriptor<'static>,
    pub way: Way,
    pub seed: u64,
}

/// Results by what they are.
pub type Results = Vec<(Operand, Vec<f32>)>;

/// What a forward pass left, and everything that a backward pass starts from.
pub struct Run<'a> {
    pub gpu: &'a Gpu,
    pub case: &'a Case,
    pub norm: Norm,
    pub numbers: Numbers,
    records: wgpu::Buffer,
    pub results: Results,
}

/// Operands in arenas.
struct Store {
    shared: bool,
    padded: bool,
    rng: fastrand::Rng,
    arenas: Vec<Arena>,
    buffers: Vec<wgpu::Buffer>,
    places: Vec<Stored>,
}

struct Stored {
    operand: Operand,
    arena: usize,
    place: Place,
    named: bool,
}

impl Store {
    fn new(case: &Case) -> Self {
        let Way { shared, padded, .. } = case.way;
        let rng = fastrand::Rng::with_seed(case.seed + 1);
        Self { shared, padded, rng, arenas: Vec::new(), buffers: Vec::new(), places: Vec::new() }
    }

    /// Places an operand behind the others or in an arena of its own; the rows of tensors and of parameters that have
    /// such are padded.
    fn put(&mut self, item: &Item, is_written: bool) {
        let Item { operand, element, named, row, ref values } = *item;
        if !self.shared || self.arenas.is_empty() {
            self.arenas.push(Arena::new(self.places.len() as u64));
        }
        let arena = self.arenas.last_mut().expect("the one just made");
        if is_written {
            // two that are written share no word
            arena.end_word();
        }
        let pad = if self.padded && row < values.len() { self.rng.usize(..6) } else { 0 };
        // what has no elements lies where there are bytes
        let gap = if values.is_empty() { 0 } else { self.rng.usize(..8) };
        let place = arena.tensor(element, values, (row, row + pad), gap);
        self.places.push(Stored { operand, arena: self.arenas.len() - 1, place, named });
    }

    fn upload(&mut self, gpu: &Gpu) {
        self.buffers = self.arenas.iter_mut().map(|arena| arena.upload(gpu)).collect();
    }

    fn view(&self, operand: Operand) -> Option<TensorView<&wgpu::Buffer>> {
        let Stored { arena, place, named, .. } = self.places.iter().find(|stored| stored.operand == operand)?;
        let mut view = place.view(&self.buffers[*arena]);
        if !named {
            view.element = None;
        }
        Some(view)
    }

    /// What these hold now, after a check that nothing else was written.
    fn read(&self, gpu: &Gpu, written: &[Operand]) -> Result<Results, String> {
        let written: Vec<&Stored> = self.places.iter().filter(|stored| written.contains(&stored.operand)).collect();
        let mut results = Results::new();
        for (k, (arena, buffer)) in self.arenas.iter().zip(&self.buffers).enumerate() {
            let own: Vec<&&Stored> = written.iter().filter(|stored| stored.arena == k).collect();
            let places: Vec<Place> = own.iter().map(|stored| stored.place).collect();
            let named =
                |error| format!("{error}, with {:?}", own.iter().map(|stored| stored.operand).collect::<Vec<_>>());
            let bytes = arena.after(gpu, buffer, &places).map_err(named)?;
            results.extend(own.iter().map(|stored| (stored.operand, stored.place.read(&bytes))));
        }
        Ok(results)
    }
}

/// A place that is to be written.
fn empty(operand: Operand, element: Element, (len, row): (usize, usize)) -> Item {
    Item { operand, element, named: true, row, values: vec![1.0; len] }
}

/// Scratch memory of what no kernel may take for a number.
fn scratch(gpu: &Gpu, bytes: u64) -> Option<wgpu::Buffer> {
    (bytes > 0).then(|| gpu.buffer(&vec![f32::NAN; bytes as usize / 4]))
}

impl Case {
    /// What the sum is stored as.
    fn sum_element(&self) -> Element {
        match self.descriptor.fusion.prologue.rounding {
            SumRounding::AsStored(element) => element,
            _ => Element::F32,
        }
    }

    pub fn has_prologue(&self) -> bool {
        self.descriptor.fusion.prologue != Prologue::default()
    }

    /// The norm by its schedules.
    pub fn norm(&self, gpu: &Gpu) -> Result<Norm, PlanError> {
        let all = families(gpu.engine.schedules(&self.descriptor)?);
        let [forward, backward] = self.way.picks;
        let norm = gpu.engine.create_norm_with(&self.descriptor, all[forward % all.len()])?.expect("its own schedules");
        let all = families(norm.backward_schedules());
        Ok(norm.with_backward_schedule(all[backward % all.len()]).expect("its own schedules"))
    }

    pub fn numbers(&self, norm: &Norm) -> Numbers {
        let numbers = Numbers::random(norm, &self.descriptor, self.way.typed, self.seed);
        let channels = norm.given_segment_count();
        let given = (self.way.given && channels > 0).then(|| {
            let mean = (0..channels).map(|c| 0.5 + c as f32 / 16.0).collect();
            (mean, (0..channels).map(|c| 1.0 + c as f32 / 8.0).collect())
        });
        Numbers { given, ..numbers }
    }
}

impl<'a> Run<'a> {
    /// Forward, with the sum where there is one.
    pub fn forward(gpu: &'a Gpu, case: &'a Case) -> Result<Self, String> {
        let norm = case.norm(gpu).map_err(|e| e.to_string())?;
        let numbers = case.numbers(&norm);
        Self::of(gpu, case, norm, numbers)
    }

    /// With these values.
    pub fn of(gpu: &'a Gpu, case: &'a Case, norm: Norm, numbers: Numbers) -> Result<Self, String> {
        let segments = norm.segment_count().max(norm.given_segment_count()).max(1);
        let records = gpu.buffer(&vec![f32::NAN; 4 * segments as usize]);
        let mut run = Self { gpu, case, norm, numbers, records, results: Results::new() };
        run.results = run.pass().map_err(|error| run.named(error))?;
        Ok(run)
    }

    /// What went wrong, and where.
    pub fn named(&self, error: String) -> String {
        format!("{error}\n    {} {} seed {}", self.norm.schedule(), self.norm.backward_schedule(), self.case.seed)
    }

    fn pass(&self) -> Result<Results, String> {
        let (gpu, case, norm) = (self.gpu, self.case, &self.norm);
        let types = case.descriptor.types;
        let mut store = Store::new(case);
        let only_back = [Operand::GradOutput, Operand::Arriving];
        let in_place = case.way.in_place && types.input == types.output;
        for item in self.numbers.items.iter().filter(|item| !only_back.contains(&item.operand)) {
            store.put(item, item.operand == Operand::Input);
        }
        let input = self.numbers.item(Operand::Input).expect("an input");
        let form = (input.values.len(), input.row);
        let mut written = vec![if in_place { Operand::Input } else { Operand::Output }];
        if !in_place {
            store.put(&empty(Operand::Output, types.output, form), true);
        }
        if case.has_prologue() {
            store.put(&empty(Operand::Sum, case.sum_element(), form), true);
            written.push(Operand::Sum);
        }
        store.upload(gpu);
        let view = |operand| store.view(operand);
        let output = view(Operand::Output).map_or(Destination::InPlace, Destination::View);
        let fused = self.views(&store).residual(view(Operand::Residual)).prologue_bias(view(Operand::PrologueBias));
        let fused = fused.out_residual(view(Operand::OutResidual)).sum(view(Operand::Sum));
        let workspace = scratch(gpu, norm.workspace_size());
        let workspace = workspace.as_ref().map(BufferView::whole);
        let (scale, bias, input) = (view(Operand::Scale), view(Operand::Bias), view(Operand::Input).expect("an input"));
        if let Some((mean, variance)) = &self.numbers.given {
            let records = self.statistics();
            let [mean, variance] = [mean, variance].map(|values| gpu.buffer(values));
            let (mean, variance) = (TensorView::whole(&mean), TensorView::whole(&variance));
            let import = norm.bind_import(&ImportArgs::new(mean, variance, records)).map_err(|e| e.to_string())?;
            let args = ForwardArgs::new(input, output).scale(scale).bias(bias).fused(fused).workspace(workspace);
            let args = args.statistics(StatisticsSource::Given(records));
            gpu.run(&[&import, &norm.bind_forward(&args).map_err(|e| e.to_string())?]);
        } else {
            let args = TrainingArgs::new(input, output, self.statistics()).scale(scale).bias(bias).fused(fused);
            gpu.run(&[&norm.bind_training(&args.workspace(workspace)).map_err(|e| e.to_string())?]);
        }
        let mut results = store.read(gpu, &written)?;
        results.iter_mut().filter(|(operand, _)| *operand == Operand::Input).for_each(|r| r.0 = Operand::Output);
        Ok(results)
    }

    fn statistics(&self) -> BufferView<&wgpu::Buffer> {
        let given = self.numbers.given.is_some();
        let size = if given { self.norm.given_statistics_size() } else { self.norm.statistics_size() };
        BufferView::new(&self.records, 0, size)
    }

    /// What both passes take.
    fn views<'b>(&self, store: &'b Store) -> FusedArgs<&'b wgpu::Buffer> {
        FusedArgs::default()
            .gate(store.view(Operand::Gate))
            .z(store.view(Operand::Z))
            .modulation_scale(store.view(Operand::ModulationScale))
            .modulation_shift(store.view(Operand::ModulationShift))
            .addend(store.view(Operand::Addend))
            .out_gate(store.view(Operand::OutGate))
    }

    pub fn result(&self, operand: Operand) -> Option<&[f32]> {
        self.results.iter().find(|(of, _)| *of == operand).map(|(_, values)| &values[..])
    }

    /// The type that a gradient is written in.
    fn element_of(&self, gradient: Operand) -> Element {
        let types = self.case.descriptor.types;
        match gradient {
            Operand::GradInput => types.grad_input,
            Operand::GradScale => types.grad_scale,
            Operand::GradBias => types.grad_bias,
            other if self.case.way.typed => {
                [Element::Bf16, Element::F32, Element::F16][(other as usize + self.case.seed as usize) % 3]
            }
            _ => Element::F32,
        }
    }

    /// These gradients.
    pub fn backward(&self, wanted: &[Operand]) -> Result<Results, String> {
        self.gradients(wanted).map_err(|error| self.named(error))
    }

    /// Places gradients that are wanted, and the one that arrives.
    fn put_gradients(&self, store: &mut Store, wanted: &[Operand], in_place: bool) {
        let arriving = self.numbers.item(Operand::Arriving).expect("it always has values");
        let over = match self.case.way.arriving {
            Arriving::OverInput => Some(Operand::GradInput),
            Arriving::OverResidual => Some(Operand::GradResidual),
            Arriving::None | Arriving::Apart => None,
        };
        for (gradient, of) in GRADIENTS.into_iter().filter(|(gradient, _)| wanted.contains(gradient)) {
            if gradient == Operand::GradInput && in_place {
                continue;
            }
            let of = self.numbers.item(of).expect("what there is a gradient to");
            // those of parameters are lists, and have no rows
            let tensors = [Operand::GradInput, Operand::GradZ, Operand::GradAddend, Operand::GradResidual];
            let tensor = tensors.contains(&gradient) && of.values.len() == arriving.values.len();
            let form = (of.values.len(), if tensor { of.row } else { of.values.len() });
            let values = if over == Some(gradient) { arriving.values.clone() } else { vec![1.0; form.0] };
            let item = Item { values, ..empty(gradient, self.element_of(gradient), form) };
            store.put(&item, true);
        }
        if self.case.way.arriving == Arriving::Apart {
            store.put(arriving, false);
        }
    }

    fn gradients(&self, wanted: &[Operand]) -> Result<Results, String> {
        let (gpu, case) = (self.gpu, self.case);
        let types = case.descriptor.types;
        let over_input = case.way.arriving == Arriving::OverInput;
        let in_place = case.way.in_place && types.grad_input == types.grad_output && !over_input;
        let in_place = in_place && wanted.contains(&Operand::GradInput);
        let mut store = Store::new(case);
        let only_forward = [Operand::Residual, Operand::PrologueBias, Operand::OutResidual, Operand::Arriving];
        for item in self.numbers.items.iter().filter(|item| !only_forward.contains(&item.operand)) {
            let operand = if item.operand == Operand::Input { Operand::Multiplied } else { item.operand };
            let item = Item { operand, values: item.values.clone(), ..*item };
            store.put(&item, operand == Operand::GradOutput);
        }
        let input = self.numbers.item(Operand::Input).expect("an input");
        let (element, values) = match self.result(Operand::Sum) {
            Some(sum) => (case.sum_element(), sum),
            None => (types.input, &input.values[..]),
        };
        let of_backward = Item { element, values: values.to_vec(), ..*input };
        store.put(&of_backward, false);
        self.put_gradients(&mut store, wanted, in_place);
        store.upload(gpu);
        self.bind_backward(&store, wanted, in_place)?;
        let mut written = wanted.to_vec();
        if in_place {
            written.push(Operand::GradOutput);
        }
        let mut results = store.read(gpu, &written)?;
        results
            .iter_mut()
            .filter(|(operand, _)| *operand == Operand::GradOutput)
            .for_each(|r| r.0 = Operand::GradInput);
        Ok(results)
    }

    fn bind_backward(&self, store: &Store, wanted: &[Operand], in_place: bool) -> Result<(), String> {
        let (gpu, way) = (self.gpu, &self.case.way);
        let view = |operand| store.view(operand);
        let multiplies = self.case.descriptor.fusion.prologue.multiplier != Multiplier::None;
        let fused = self.views(store).multiplied(view(Operand::Multiplied).filter(|_| multiplies));
        let arriving = match way.arriving {
            Arriving::None => None,
            Arriving::Apart => view(Operand::Arriving),
            Arriving::OverInput => view(Operand::GradInput),
            Arriving::OverResidual => view(Operand::GradResidual),
        };
        let gradients = FusedGradients::default()
            .arriving(arriving)
            .residual(view(Operand::GradResidual))
            .gate(view(Operand::GradGate))
            .z(view(Operand::GradZ))
            .prologue_bias(view(Operand::GradPrologueBias))
            .modulation_scale(view(Operand::GradModulationScale))
            .modulation_shift(view(Operand::GradModulationShift))
            .addend(view(Operand::GradAddend))
            .out_gate(view(Operand::GradOutGate));
        let statistics = match self.numbers.given {
            Some(_) => BackwardStatistics::Given(self.statistics()),
            None => BackwardStatistics::Saved(self.statistics()),
        };
        let workspace = scratch(gpu, self.norm.backward_workspace_size());
        let (input, dy) = (view(Operand::Input).expect("placed"), view(Operand::GradOutput).expect("placed"));
        let mut args = BackwardArgs::new(input, dy, statistics)
            .scale(view(Operand::Scale))
            .bias(view(Operand::Bias))
            .grad_scale(view(Operand::GradScale))
            .grad_bias(view(Operand::GradBias))
            .fused(fused)
            .fused_gradients(gradients)
            .workspace(workspace.as_ref().map(BufferView::whole));
        args.grad_input = view(Operand::GradInput).map(Destination::View);
        if in_place && wanted.contains(&Operand::GradInput) {
            args.grad_input = Some(Destination::InPlace);
        }
        gpu.run(&[&self.norm.bind_backward(&args).map_err(|e| e.to_string())?]);
        Ok(())
    }

    /// Compares results with the reference. `shares`: errors of the forward pass and of gradients, as shares of the
    /// largest.
    pub fn compare(&self, results: &Results, [forward, backward]: [f64; 2]) -> Result<(), String> {
        let d = &self.case.descriptor;
        let expected = self.numbers.expected(d, self.case.way.arriving != Arriving::None);
        let largest = |values: &[f64]| values.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        // a normalized number in the middle between two may be rounded to either
        let tie = match (d.fusion.normalized_rounding, d.types.output) {
            (NormalizedRounding::AsOutput, Element::Bf16) => 2.0f64.powi(-7),
            (NormalizedRounding::AsOutput, Element::F16) => 2.0f64.powi(-10),
            _ => 0.0,
        };
        for (operand, actual) in results {
            let (values, element, error) = match operand {
                Operand::Output => {
                    let values = &expected.forward.output;
                    (values, d.types.output, largest(values) * (forward + tie))
                }
                Operand::Sum => {
                    let values = &expected.forward.sum;
                    (values, self.case.sum_element(), largest(values) * forward)
                }
                gradient => {
                    let found = expected.gradients.iter().find(|of| of.operand == *gradient).expect("a reference");
                    (&found.values, self.element_of(*gradient), found.terms * (backward + tie))
                }
            };
            assert_eq!(values.len(), actual.len(), "{operand}");
            // `compare` allows 2e-6 of what it is given, beside rounding
            compare(actual, values, element, error / 2e-6)
                .map_err(|error| self.named(format!("{operand}: {error}")))?;
        }
        Ok(())
    }
}

/// What rounding may leave, as shares of the largest: of outputs, and of gradients.
pub const SHARES: [f64; 2] = [4e-6, 1.5e-5];

/// Forward and backward of a case, each twice, against the reference.
pub fn check(gpu: &Gpu, case: &Case) -> Result<(), String> {
    let run = Run::forward(gpu, case)?;
    let again = Run::forward(gpu, case)?;
    let bits = |results: &Results| -> Vec<(Operand, Vec<u32>)> {
        results.iter().map(|(operand, values)| (*operand, values.iter().map(|x| x.to_bits()).collect())).collect()
    };
    if bits(&run.results) != bits(&again.results) {
        return Err(run.named("two forward passes differ".to_owned()));
    }
    run.compare(&run.results, SHARES)?;
    let wanted = run.numbers.gradients();
    let gradients = run.backward(&wanted)?;
    if bits(&gradients) != bits(&run.backward(&wanted)?) {
        return Err(run.named("two backward passes differ".to_owned()));
    }
    if gradients.len() != wanted.len() {
        return Err(format!("{} gradients of {}", gradients.len(), wanted.len()));
    }
    run.compare(&gradients, SHARES)
}

/// Describes a case that failed.
pub fn describe(case: &Case) -> String {
    let d = &case.descriptor;
    format!(
        "{:?} {:?} {:?} {:?} {:?}\n    {:?}\n    {:?}\n    {:?}",
        d.kind, d.shape, d.format, d.affine, d.affine_axes, d.types, d.fusion, case.way
    )
}
