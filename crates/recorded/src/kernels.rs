//! Every kernel that plans of the recorded cases make, without a GPU.

use std::collections::BTreeMap;

use wgpu_norm::{
    BackwardArgs, BackwardStatistics, DeviceFacts, Kernel, Planner, PowerIterations, SpectralArgs,
    SpectralBackwardArgs, TensorView, TrainingArgs,
};
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::outline::{Buffers, devices};

use crate::fused::args::{self, GRADIENTS, OPERANDS};
use crate::fused::place::Form;
use crate::golden::{Family, Request};
use crate::setup::{Setup, Support, support};
use crate::{fused, spectral, sync};

type Kernels = BTreeMap<String, Kernel>;

/// Those of a norm with as many parameters as it can have, and with those that the record has.
fn of_norm(request: &Request, devices: &[DeviceFacts]) -> Result<Kernels, Failure> {
    let setup = Setup::of(request)?;
    let has = |name: &str| request.inputs.contains_key(name);
    let (scale, bias) = (has(setup.names().scale), has("bias"));
    setup.describe(scale, bias, |descriptor| descriptor.kernels(devices))
}

fn of_spectral(request: &Request, devices: &[DeviceFacts]) -> Result<Kernels, Failure> {
    let descriptor = spectral::descriptor(request);
    let mut kernels = Kernels::new();
    for facts in devices {
        let plan = Planner::new(*facts).plan_spectral(&descriptor)?;
        let mut all = Buffers::default();
        let [weight, output, grad_output, grad_weight] =
            ["weight", "output", "grad_output", "grad_weight"].map(|name| all.tensor(name, plan.len()));
        let (sigma, workspace) = (all.tensor("sigma", 1), all.bytes("workspace", plan.workspace_size()));
        let (u, v) = (all.tensor("u", plan.rows()), all.tensor("v", plan.columns()));
        let mut forward = SpectralArgs::new(weight, output, sigma, workspace);
        let mut backward = SpectralBackwardArgs::new(weight, grad_output, grad_weight, sigma, workspace);
        if plan.rows() > 0 {
            forward = forward.vectors(u, v, PowerIterations::Count(1));
            backward = backward.vectors(u, v);
        }
        for recipe in [plan.forward(&forward)?, plan.backward(&backward)?] {
            kernels.extend(recipe.kernels.into_iter().map(|kernel| (kernel.to_string(), kernel)));
        }
    }
    Ok(kernels)
}

/// The shards of a batch are planned as the tensors that they are.
fn of_shards(request: &Request, devices: &[DeviceFacts]) -> Result<Kernels, Failure> {
    let mut kernels = Kernels::new();
    for shape in (0..).map_while(|rank| Some(&request.inputs.get(&format!("input_{rank}"))?.shape)) {
        let batch = wgpu_norm::NormDescriptor::new(wgpu_norm::NormKind::Batch, shape);
        let descriptor = wgpu_norm::NormDescriptor { types: sync::types(request), ..batch };
        kernels.extend(wgpu_norm_tools::exact::Descriptor::Norm(descriptor).kernels(devices)?);
    }
    Ok(kernels)
}

/// Training and all gradients, over operands that are padded where the record's are.
fn of_fused(request: &Request, devices: &[DeviceFacts]) -> Result<Kernels, Failure> {
    let setup = fused::setup::Setup::of(request)?;
    let quantised = request.attrs.fused.quantise.is_some();
    let mut kernels = Kernels::new();
    for facts in devices {
        let plan = Planner::new(*facts).plan(&setup.descriptor())?;
        let (mut all, len) = (Buffers::default(), plan.len());
        let mut views = BTreeMap::new();
        for name in OPERANDS {
            let Some(place) = setup.place(name) else { continue };
            let element = setup.element(name);
            let view = match place.form() {
                Form::Rows { axis, stride } => {
                    let row: u64 = place.shape[axis + 1..].iter().product();
                    let buffer = all.tensor_of(name, element, place.len() / row * stride).buffer;
                    let view = TensorView::new(buffer, 0, place.len()).of(element);
                    let rows = axis + 2 == place.shape.len();
                    if rows { view.with_row_stride(stride) } else { view.with_stride(axis, stride) }
                }
                _ => all.tensor_of(name, element, place.len()),
            };
            views.insert(name, view);
        }
        for name in GRADIENTS {
            if let Some(spec) = request.wanted.get(name) {
                let len = spec.shape.iter().product();
                views.insert(name, all.tensor_of(name, request.wanted_element(name), len));
            }
        }
        let get = |name: &str| views.get(name).copied();
        let Some(input) = get("input") else { continue };
        let sum = setup.sum_element().map(|element| all.tensor_of("sum", element, len));
        let output = all.tensor_of("output", setup.types.output, len);
        let output = if quantised { TensorView::at(output.buffer, 0) } else { output };
        let scales = request.wanted.get("output_scales").map(|spec| all.tensor("scales", spec.shape.iter().product()));
        let saved = all.bytes("moments", plan.statistics_size());
        let workspace = all.bytes("workspace", plan.workspace_size().max(plan.backward_workspace_size()));
        let mut training = TrainingArgs::new(input, output, saved).fused(args::forward(get).sum(sum).scales(scales));
        (training.scale, training.bias, training.workspace) = (get("weight"), get("bias"), Some(workspace));
        let mut recipes = vec![plan.training(&training)?];
        if let Some(grad_output) = get("dy") {
            let by = BackwardStatistics::Saved(saved);
            let args = setup.backward(BackwardArgs::new(sum.unwrap_or(input), grad_output, by), get);
            recipes.push(plan.backward(&args.workspace(workspace))?);
        }
        kernels
            .extend(recipes.into_iter().flat_map(|recipe| recipe.kernels).map(|kernel| (kernel.to_string(), kernel)));
    }
    Ok(kernels)
}

/// The kernels of the cases that run.
pub struct Planned {
    /// By name.
    pub kernels: Kernels,
    /// Cases that have a plan.
    planned: usize,
    /// Cases that have none: what other frameworks refuse, or one element that some pass needs more of.
    refused: usize,
}

/// Plans all cases for devices that differ in what is planned for them.
pub fn of_families(families: &[Family]) -> Result<Planned, Failure> {
    let mut all = Planned { kernels: Kernels::new(), planned: 0, refused: 0 };
    for family in families {
        for request in family.cases.iter().map(|case| &case.request).filter(|r| support(r) == Support::Runs) {
            let of_case = match request.op.as_str() {
                "spectral_norm" => of_spectral(request, &devices()),
                "sync_batch_norm" => of_shards(request, &devices()),
                op if op.starts_with("fused_") => of_fused(request, &devices()),
                _ => of_norm(request, &devices()),
            };
            match of_case {
                Ok(more) => {
                    all.planned += 1;
                    all.kernels.extend(more);
                }
                Err(Failure::Plan(_) | Failure::Bind(_)) => all.refused += 1,
                Err(failure) => return Err(Failure::Usage(format!("{}: {failure}", request.name))),
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use wgpu_norm_tools::shaders::{Target, Translator};

    use wgpu_norm_tools::tier;

    use super::*;

    #[test]
    fn kernels_of_all_recorded_cases_pass_naga() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
        let Planned { kernels, planned, refused } = of_families(&Family::open_all(&golden).unwrap()).unwrap();
        assert!(planned > 700 && refused < 100, "{planned} planned, {refused} refused");
        println!("{planned} cases planned, {refused} refused, {} kernels", kernels.len());
        // scripts/check-shaders has the other languages, and their compilers
        for (name, kernel) in tier::some(&kernels) {
            Translator::new(kernel)
                .and_then(|kernel| kernel.translate(Target::Spirv))
                .unwrap_or_else(|words| panic!("{name}: {words}"));
        }
    }
}
