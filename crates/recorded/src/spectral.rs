//! Spectral norm: steps of power iterations and division, then the gradient of the last.

use wgpu_norm::{BufferView, PowerIterations, PowerOrder, SpectralArgs, SpectralBackwardArgs, SpectralDescriptor};
use wgpu_norm_tools::device::{Gpu, Tensor};
use wgpu_norm_tools::failure::Failure;

use crate::golden::{Request, Store};
use crate::{Array, Results, Values};

/// The norm of a case.
pub fn descriptor(request: &Request) -> SpectralDescriptor<'_> {
    let attrs = &request.attrs;
    let shape = request.inputs.get("weight").map_or(&[][..], |weight| &weight.shape);
    let mut descriptor = SpectralDescriptor::new(shape);
    descriptor.dim = attrs.dim.and_then(|dim| usize::try_from(dim).ok()).unwrap_or(descriptor.dim);
    descriptor.eps = attrs.eps.flatten().map_or(descriptor.eps, |eps| eps as f32);
    if attrs.order.as_deref() == Some("v_then_u") {
        descriptor.order = PowerOrder::VThenU;
    }
    descriptor
}

/// All steps of a case.
pub fn spectral_norm(gpu: &Gpu, request: &Request, store: &Store) -> Result<Results, Failure> {
    let attrs = &request.attrs;
    let norm = gpu.engine.create_spectral_norm(&descriptor(request))?;
    let upload = |name: &str| match request.input(name, store)? {
        Some(values) => gpu.upload(name, &values).map(Some),
        None => Ok(None),
    };
    let Some(weight) = upload("weight")? else { return Ok(Results::new()) };
    let (vectors, dy) = (upload("u")?.zip(upload("v")?), upload("dy")?);
    let (sigma, output) = (gpu.tensor("sigma", 1)?, gpu.tensor("output", norm.len())?);
    let workspace = gpu.buffer("workspace", norm.workspace_size())?;
    let workspace = BufferView::whole(&workspace);
    let iterations = match attrs.training {
        Some(false) => PowerIterations::Frozen,
        _ => PowerIterations::Count(attrs.n_power_iterations.unwrap_or(1)),
    };
    let mut args = SpectralArgs::new(weight.view(), output.view(), sigma.view(), workspace);
    if let Some((u, v)) = &vectors {
        args = args.vectors(u.view(), v.view(), iterations);
    }
    let forward = norm.bind_forward(&args)?;

    let mut results = Results::new();
    let mut insert = |name: String, tensor: &Tensor| {
        if let Some(spec) = request.wanted.get(&name) {
            results.insert(name, Array::new(&spec.shape, Values::Floats(gpu.download(tensor)?)));
        }
        Ok::<_, Failure>(())
    };
    for step in 1..=attrs.steps.unwrap_or(1) {
        gpu.run_all([&forward])?;
        for (name, tensor) in [("sigma", &sigma), ("output", &output)] {
            insert(format!("{name}_{step}"), tensor)?;
        }
        if let Some((u, v)) = &vectors {
            insert(format!("u_{step}"), u)?;
            insert(format!("v_{step}"), v)?;
        }
    }
    if let Some(grad_output) = &dy {
        let grad_weight = gpu.tensor("grad_weight", norm.len())?;
        let mut args =
            SpectralBackwardArgs::new(weight.view(), grad_output.view(), grad_weight.view(), sigma.view(), workspace);
        if let Some((u, v)) = &vectors {
            args = args.vectors(u.view(), v.view());
        }
        gpu.run_all([&norm.bind_backward(&args)?])?;
        insert("dweight".into(), &grad_weight)?;
    }
    Ok(results)
}
