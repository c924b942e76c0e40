//! One norm with its operands, and what the reference makes of them.

use serde_json::{Value, json};
use wgpu_norm::reference::ReferenceError;
use wgpu_norm::{DeviceFacts, Element, Planner};
use wgpu_norm_tools::check::Comparison;
use wgpu_norm_tools::exact::{Descriptor, Inputs};
use wgpu_norm_tools::fill::{self, Fill, Random};
use wgpu_norm_tools::{elements, terms};
use wgpu_norm_web::Described;

/// As `wgpu-norm verify` has it.
const TOLERANCE: f64 = 2e-6;

/// A tensor that a norm reads.
pub struct Operand {
    name: &'static str,
    element: Element,
    bytes: Vec<u8>,
}

/// A tensor that a norm writes.
struct Expected {
    name: &'static str,
    element: Element,
    values: Vec<f64>,
    units: Vec<f64>,
}

/// A norm that is run and judged.
#[derive(Default)]
pub struct Case {
    operands: Vec<Operand>,
    expected: Vec<Expected>,
}

/// What the judge says of a result.
pub struct Verdict(Comparison);

impl Case {
    /// The operands of a norm, filled, and what it computes from them.
    pub fn of(norm: &Value, fill: Fill, given: bool) -> Result<Self, String> {
        let case = wgpu_norm_web::described(norm, |described| match described {
            Described::Norm(d) => Self::of_descriptor(&d.into(), fill, given),
            Described::Adaptive(d) => Self::of_descriptor(&d.into(), fill, given),
            Described::Spectral(_) => Err("the page has no cases of spectral norm".to_owned()),
        });
        case?
    }

    fn of_descriptor(d: &Descriptor<'_>, fill: Fill, given: bool) -> Result<Self, String> {
        let lengths = Lengths::of(d)?;
        let (len, types, affine) = (lengths.tensor, d.types(), d.affine());
        let mut random = Random::of_operands(len);
        let rounded = |values: Vec<f32>, element| elements::rounded(&values, element);
        let style = (lengths.style > 0).then(|| rounded(random.fill(Fill::Normal, lengths.style), types.input));
        let input = rounded(random.fill(fill, len), types.input);
        let scale = affine.has_scale().then(|| rounded(random.scales(lengths.affine), types.scale));
        let bias = affine.has_bias().then(|| rounded(random.biases(lengths.affine), types.bias));
        let given = given.then(|| (random.means(fill, lengths.given), random.scales(lengths.given)));
        let grad_output = rounded(fill::gradient(len), types.grad_output);

        let inputs = Inputs {
            input: &input,
            scale: scale.as_deref(),
            bias: bias.as_deref(),
            style: style.as_deref(),
            given: given.as_ref().map(|(mean, variance)| (mean.as_slice(), variance.as_slice())),
            ..Inputs::default()
        };
        let exact = || -> Result<_, ReferenceError> {
            let output = d.forward(&inputs)?.output;
            let output_units = d.output_units(&inputs, &output)?;
            let gradients = d.backward(&inputs, &grad_output)?;
            Ok((output, output_units, gradients, terms::of(d, &inputs, &grad_output)?))
        };
        let (output, output_units, gradients, mut units) = exact().map_err(|error| error.to_string())?;
        let mut case = Self::default();
        case.expect("output", types.output, output, output_units);
        for (name, gradient) in gradients.named() {
            let (result, element) = match name {
                "scale" => ("gradScale", types.grad_scale),
                "bias" => ("gradBias", types.grad_bias),
                "style" => ("gradStyle", types.grad_input),
                _ => ("gradInput", types.grad_input),
            };
            case.expect(result, element, gradient, units.remove(name).unwrap_or_default());
        }
        for (name, element, values) in [
            ("input", types.input, Some(&input)),
            ("style", types.input, style.as_ref()),
            ("scale", types.scale, scale.as_ref()),
            ("bias", types.bias, bias.as_ref()),
            ("gradOutput", types.grad_output, Some(&grad_output)),
            ("mean", Element::F32, given.as_ref().map(|(mean, _)| mean)),
            ("variance", Element::F32, given.as_ref().map(|(_, variance)| variance)),
        ] {
            values.into_iter().for_each(|values| case.operand(name, element, values));
        }
        Ok(case)
    }

    fn expect(&mut self, name: &'static str, element: Element, values: Vec<f64>, units: Vec<f64>) {
        self.expected.push(Expected { name, element, values, units });
    }

    fn operand(&mut self, name: &'static str, element: Element, values: &[f32]) {
        self.operands.push(Operand { name, element, bytes: elements::encode(values, element).into_owned() });
    }

    /// Names, types and places of the operands; names, types and lengths of the results.
    pub fn to_json(&self) -> Value {
        let operand = |Operand { name, element, bytes }: &Operand| {
            // where JavaScript finds it, in the memory of this module
            let pointer = bytes.as_ptr() as usize;
            json!({ "name": name, "element": element.name(), "pointer": pointer, "bytes": bytes.len() })
        };
        let expected = |result: &Expected| {
            let Expected { name, element, values, .. } = result;
            json!({ "name": name, "element": element.name(), "length": values.len() })
        };
        json!({
            "operands": self.operands.iter().map(operand).collect::<Vec<_>>(),
            "expected": self.expected.iter().map(expected).collect::<Vec<_>>(),
        })
    }

    /// A result as it is exactly, but for one rounding.
    #[cfg(test)]
    pub fn rounded(&self, name: &str) -> Vec<u8> {
        let Expected { element, values, .. } = self.expected.iter().find(|expected| expected.name == name).unwrap();
        let values: Vec<f32> = values.iter().map(|&value| elements::round(value, *element) as f32).collect();
        elements::encode(&values, *element).into_owned()
    }

    /// Compares the bytes of a result with the reference.
    pub fn judge(&self, name: &str, bytes: &[u8]) -> Result<Verdict, String> {
        let expected = self.expected.iter().find(|expected| expected.name == name);
        let Expected { element, values, units, .. } = expected.ok_or_else(|| format!("this norm has no {name}"))?;
        let wanted = values.len() * element.bytes() as usize;
        if bytes.len() != wanted {
            return Err(format!("{name} has {} bytes, {wanted} are wanted", bytes.len()));
        }
        let actual = elements::decode(bytes, *element);
        Ok(Verdict(Comparison::in_own_units(&actual, values, *element, units)))
    }
}

impl Verdict {
    /// Whether the result is right.
    pub fn passes(&self) -> bool {
        self.0.holds(TOLERANCE)
    }

    /// In JSON, which has no NaN: what is none is null.
    pub fn to_json(&self) -> Value {
        let Comparison { index, actual, expected, relative, misplaced, first_misplaced, .. } = &self.0;
        let worst = first_misplaced.map(|place| (place.index, place.actual, place.expected));
        let (index, actual, expected) = worst.unwrap_or((*index, *actual, *expected));
        json!({
            "passes": self.passes(),
            "error": relative,
            "misplaced": misplaced,
            "index": index,
            "actual": actual.to_string(),
            "expected": expected.to_string(),
        })
    }
}

/// How many elements operands have.
struct Lengths {
    tensor: u64,
    affine: u64,
    given: u64,
    style: u64,
}

impl Lengths {
    /// By the plan for a device that can bind anything.
    fn of(d: &Descriptor<'_>) -> Result<Self, String> {
        let mut facts = DeviceFacts::DEFAULT;
        facts.max_binding = u64::MAX;
        let planner = Planner::new(facts);
        let (content, style) = match d {
            Descriptor::Norm(d) => (planner.plan(d), 0),
            Descriptor::Adaptive(d) => {
                let plan = planner.plan_adaptive(d).map_err(|error| error.to_string())?;
                (Ok(plan.content().clone()), plan.style_len())
            }
        };
        let plan = content.map_err(|error| error.to_string())?;
        let [affine, given] = [plan.affine_len(), plan.given_segment_count()];
        Ok(Self { tensor: plan.len(), affine, given, style })
    }
}
