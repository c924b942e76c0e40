//! One norm with its operands, and what the reference makes of them.

use serde_json::{Value, json};
use wgpu_norm::reference::{self, ReferenceInputs};
use wgpu_norm::{AdaptiveDescriptor, DeviceFacts, Element, NormDescriptor, Planner, Types};
use wgpu_norm_tools::check::Comparison;
use wgpu_norm_tools::elements;
use wgpu_norm_tools::fill::{self, Fill, Random};
use wgpu_norm_web::Described;

use crate::units;

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
            Described::Norm(d) => Self::of_norm(&d, fill, given),
            Described::Adaptive(d) => Self::of_adaptive(&d, fill),
            Described::Spectral(_) => Err("the page has no cases of spectral norm".to_owned()),
        });
        case?
    }

    fn of_norm(d: &NormDescriptor<'_>, fill: Fill, given: bool) -> Result<Self, String> {
        let plan = planner().plan(d).map_err(|error| error.to_string())?;
        let (len, types) = (plan.len(), d.types);
        let mut random = Random::of_operands(len);
        let rounded = |values: Vec<f32>, element| elements::rounded(&values, element);
        let input = rounded(random.fill(fill, len), types.input);
        let scale = d.affine.has_scale().then(|| rounded(random.scales(plan.affine_len()), types.scale));
        let bias = d.affine.has_bias().then(|| rounded(random.biases(plan.affine_len()), types.bias));
        let channels = plan.given_segment_count();
        let given = given.then(|| (random.means(fill, channels), random.scales(channels)));
        let grad_output = rounded(fill::gradient(len), types.grad_output);

        let inputs = ReferenceInputs {
            input: &input,
            scale: scale.as_deref(),
            bias: bias.as_deref(),
            given: given.as_ref().map(|(mean, variance)| (mean.as_slice(), variance.as_slice())),
        };
        let exact = || -> Result<_, reference::ReferenceError> {
            let output = reference::forward(d, &inputs)?;
            let output_units = reference::output_units(d, &inputs)?;
            let gradients = reference::backward(d, &inputs, &grad_output)?;
            let gradient_units = units::of_gradients(d, &inputs, &output, &grad_output)?;
            Ok((output.output, output_units, gradients, gradient_units))
        };
        let (output, output_units, gradients, [of_input, of_scale, of_bias]) =
            exact().map_err(|error| error.to_string())?;
        let mut case = Self::default();
        case.expect("output", types.output, output, output_units);
        case.expect("gradInput", types.grad_input, gradients.input, of_input);
        case.expect("gradScale", types.grad_scale, gradients.scale, of_scale);
        case.expect("gradBias", types.grad_bias, gradients.bias, of_bias);
        case.operand("input", types.input, &input);
        scale.iter().for_each(|scale| case.operand("scale", types.scale, scale));
        bias.iter().for_each(|bias| case.operand("bias", types.bias, bias));
        case.operand("gradOutput", types.grad_output, &grad_output);
        if let Some((mean, variance)) = &given {
            case.operand("mean", Element::F32, mean);
            case.operand("variance", Element::F32, variance);
        }
        Ok(case)
    }

    fn of_adaptive(d: &AdaptiveDescriptor<'_>, fill: Fill) -> Result<Self, String> {
        let plan = planner().plan_adaptive(d).map_err(|error| error.to_string())?;
        let (len, types): (u64, Types) = (plan.content().len(), d.types);
        let mut random = Random::of_operands(len);
        let style = elements::rounded(&random.fill(Fill::Normal, plan.style_len()), types.input);
        let input = elements::rounded(&random.fill(fill, len), types.input);
        let grad_output = elements::rounded(&fill::gradient(len), types.grad_output);
        let exact = || -> Result<_, reference::ReferenceError> {
            let output = reference::adaptive(d, &input, &style)?;
            let gradients = reference::adaptive_backward(d, &input, &style, &grad_output)?;
            let gradient_units = units::of_adaptive_gradients(d, &input, &style, &grad_output)?;
            let output_units = units::of_adaptive_output(d, &output.output)?;
            Ok((output.output, output_units, gradients, gradient_units))
        };
        let (output, output_units, (to_input, to_style), [of_input, of_style]) =
            exact().map_err(|error| error.to_string())?;
        let mut case = Self::default();
        case.expect("output", types.output, output, output_units);
        case.expect("gradInput", types.grad_input, to_input, of_input);
        case.expect("gradStyle", types.grad_input, to_style, of_style);
        case.operand("input", types.input, &input);
        case.operand("style", types.input, &style);
        case.operand("gradOutput", types.grad_output, &grad_output);
        Ok(case)
    }

    /// What the norm does not have is empty.
    fn expect(&mut self, name: &'static str, element: Element, values: Vec<f64>, units: Vec<f64>) {
        if name == "output" || !values.is_empty() {
            self.expected.push(Expected { name, element, values, units });
        }
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
        let expected = |Expected { name, element, values, .. }: &Expected| json!({ "name": name, "element": element.name(), "length": values.len() });
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

/// Of a device that can bind anything: what is asked of it are sizes.
fn planner() -> Planner {
    let mut facts = DeviceFacts::DEFAULT;
    facts.max_binding = u64::MAX;
    Planner::new(facts)
}
