//! Every kernel that plans of the catalogue make goes through naga, and every recipe is what a host can run. No GPU.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use naga::valid::{Capabilities, ValidationFlags, Validator};

use crate::catalogue;
use crate::facts::DeviceFacts;
use crate::kernel::Kernel;
use crate::norm::Planner;
use crate::recipe::Recipe;
use crate::view::BufferId;

/// What a host needs to know of a source before it can run it, as naga sees it.
struct Known {
    /// Bytes of the uniform block.
    uniform: u64,
    overrides: BTreeSet<String>,
    /// Whether it has subgroup operations.
    subgroups: bool,
    /// Of a workgroup: a number of invocations, or the constant that says it.
    size: Size,
}

enum Size {
    Fixed(u32),
    Constant(String),
}

/// Checks a source, with the constants of the kernel that it was made for.
fn check(kernel: &Kernel, source: &str) -> Result<Known, String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::SUBGROUP)
        .validate(&module)
        .map_err(|e| e.emit_to_string(source))?;
    let entries: Vec<_> = module.entry_points.iter().map(|e| (e.name.as_str(), e.stage)).collect();
    if entries != [(kernel.entry_point(), naga::ShaderStage::Compute)] {
        return Err(format!("its entry points are {entries:?}"));
    }
    let mut uniform = None;
    let mut storage = BTreeMap::new();
    for (_, global) in module.global_variables.iter() {
        let size = module.types[global.ty].inner.size(module.to_ctx());
        match (global.space, &global.binding) {
            (naga::AddressSpace::Uniform, Some(naga::ResourceBinding { group: 0, binding: 0 })) => {
                uniform = Some(u64::from(size));
            }
            (naga::AddressSpace::Storage { access }, Some(naga::ResourceBinding { group: 0, binding })) => {
                storage.insert(*binding, access.contains(naga::StorageAccess::STORE));
            }
            (naga::AddressSpace::WorkGroup | naga::AddressSpace::Private, None) => {}
            other => return Err(format!("it binds {:?} as {other:?}", global.name)),
        }
    }
    let expected: BTreeMap<u32, bool> = (1..).zip(kernel.bindings()).collect();
    if storage != expected {
        return Err(format!("its bindings are {storage:?}, a host makes {expected:?}"));
    }
    let constants = kernel.constants().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let (resolved, _) = naga::back::pipeline_constants::process_overrides(&module, &info, None, &constants)
        .map_err(|e| e.to_string())?;
    let memory: u32 = resolved
        .global_variables
        .iter()
        .filter(|(_, global)| global.space == naga::AddressSpace::WorkGroup)
        .map(|(_, global)| resolved.types[global.ty].inner.size(resolved.to_ctx()))
        .sum();
    if memory > DeviceFacts::DEFAULT.max_workgroup_memory {
        return Err(format!("it has {memory} bytes of workgroup memory"));
    }
    let entry = &module.entry_points[0];
    let size = match entry.workgroup_size_overrides {
        Some([Some(x), _, _]) => match module.global_expressions[x] {
            naga::Expression::Override(o) => Size::Constant(module.overrides[o].name.clone().unwrap_or_default()),
            ref other => return Err(format!("its workgroup size is {other:?}")),
        },
        _ => Size::Fixed(entry.workgroup_size.iter().product()),
    };
    let overrides = module.overrides.iter().filter_map(|(_, o)| o.name.clone()).collect();
    let uniform = uniform.ok_or("it has no uniform block at binding 0")?;
    let without = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module);
    Ok(Known { uniform, overrides, subgroups: without.is_err(), size })
}

/// A kernel has the constants that its source declares, and fits the device: its workgroup, its subgroups.
fn check_constants(kernel: &Kernel, known: &Known, facts: &DeviceFacts) -> Result<(), String> {
    let given: BTreeMap<&str, f64> = kernel.constants().into_iter().collect();
    if !given.keys().copied().eq(known.overrides.iter().map(String::as_str)) {
        return Err(format!("it declares {:?}, given {given:?}", known.overrides));
    }
    if kernel.uses_subgroups() != known.subgroups || known.subgroups && facts.min_subgroup == 1 {
        return Err(format!("it says subgroups: {}, and has them: {}", kernel.uses_subgroups(), known.subgroups));
    }
    let size = match &known.size {
        Size::Fixed(size) => *size,
        Size::Constant(name) => given[name.as_str()] as u32,
    };
    if (1..=facts.max_workgroup_size).contains(&size) { Ok(()) } else { Err(format!("its workgroups have {size}")) }
}

/// Whether a host with such a device can run a recipe as it stands.
fn check_recipe(
    recipe: &Recipe<BufferId>,
    facts: &DeviceFacts,
    uniform: impl Fn(&Kernel) -> Option<u64>,
) -> Result<(), String> {
    let used: BTreeSet<usize> = recipe.dispatches.iter().map(|d| d.kernel).collect();
    if used != (0..recipe.kernels.len()).collect() {
        return Err(format!("dispatches use kernels {used:?} of {}", recipe.kernels.len()));
    }
    for dispatch in &recipe.dispatches {
        let kernel = &recipe.kernels[dispatch.kernel];
        let length = dispatch.parameters.len() as u64;
        if let Some(size) = uniform(kernel).filter(|&size| size != length) {
            return Err(format!("{kernel}: {length} bytes of parameters, its block has {size}"));
        }
        if dispatch.workgroups.iter().any(|&n| n == 0 || n > facts.max_workgroup_count) {
            return Err(format!("{kernel}: {:?} workgroups", dispatch.workgroups));
        }
        let writes: Vec<bool> = dispatch.bindings.iter().map(|b| b.writes).collect();
        if writes != kernel.bindings().collect::<Vec<_>>() || writes.len() as u32 > facts.max_storage_buffers {
            return Err(format!("{kernel}: its bindings are written as {writes:?}"));
        }
        for (k, b) in dispatch.bindings.iter().enumerate() {
            let whole = b.size > 0 && b.size.is_multiple_of(4) && b.size <= facts.max_binding;
            let aligned = b.offset.is_multiple_of(facts.storage_align.into());
            if !whole || !aligned || b.offset + b.size > recipe.buffers[b.buffer].size {
                return Err(format!("{kernel}: binding {} is {b:?} of {:?}", k + 1, recipe.buffers[b.buffer]));
            }
            // a buffer is bound for writing or for reading, in one dispatch, and what is written is bound once
            for other in dispatch.bindings[..k].iter().filter(|other| other.buffer == b.buffer) {
                let overlap = other.offset < b.offset + b.size && b.offset < other.offset + other.size;
                if other.writes != b.writes || (overlap && b.writes) {
                    return Err(format!("{kernel}: bindings {other:?} and {b:?} are in each other's way"));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_kernel_that_plans_make_is_valid_and_every_recipe_can_be_run() {
    // constants change no source but for its first line, the kernel's name
    let bare = |kernel: &Kernel| Kernel { overrides: Default::default(), ..*kernel };
    let mut sources: HashMap<Kernel, Option<Known>> = HashMap::new();
    let mut kernels = HashSet::new();
    let (mut recipes, mut failures) = (0, BTreeSet::new());
    for (device, facts) in catalogue::devices() {
        catalogue::recipes(&Planner::new(facts), &mut |name, recipe| {
            recipes += 1;
            for kernel in &recipe.kernels {
                let mut fail = |error| {
                    failures.insert(format!("{kernel} of {name} on {device}: {error}"));
                };
                let known = sources.entry(bare(kernel)).or_insert_with(|| {
                    check(kernel, &kernel.source()).map_err(&mut fail).ok()
                });
                if let Some(known) = known.as_ref().filter(|_| kernels.insert((*kernel, facts.max_workgroup_size))) {
                    check_constants(kernel, known, &facts).unwrap_or_else(fail);
                }
            }
            if let Err(error) = check_recipe(&recipe, &facts, |kernel| Some(sources.get(&bare(kernel))?.as_ref()?.uniform)) {
                failures.insert(format!("{} of {name} on {device}: {error}", recipe.operation));
            }
        });
    }
    println!("{recipes} recipes, {} kernels, {} sources", kernels.len(), sources.len());
    let first: Vec<_> = failures.iter().take(10).cloned().collect();
    assert!(failures.is_empty(), "{} failures, the first of them:\n{}", failures.len(), first.join("\n"));
    assert!(recipes > 10_000 && sources.len() > 10, "{recipes} recipes, {} sources", sources.len());
}
