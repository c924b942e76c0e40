//! Every kernel that plans of the catalogue make goes through naga, and every recipe is what a host can run. No GPU.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use naga::valid::{Capabilities, ValidationFlags, Validator};
use wgpu_norm_tools::tier;

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
    if let Some(words) = crate::invariants::ambiguities(source).first() {
        return Err(format!("operators without the parentheses that WGSL asks for: {words}"));
    }
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
    let refused = || Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module).is_err();
    let subgroups = source.contains("subgroup") && refused();
    Ok(Known { uniform, overrides, subgroups, size })
}

/// A kernel has the constants that its source declares, and fits the device: its workgroup, its subgroups.
fn check_constants(kernel: &Kernel, known: &Known, facts: &DeviceFacts) -> Result<(), String> {
    let given: BTreeMap<&str, f64> = kernel.constants().into_iter().collect();
    // those that are not given have their defaults
    if !given.keys().all(|name| known.overrides.contains(*name)) {
        return Err(format!("it declares {:?}, given {given:?}", known.overrides));
    }
    if kernel.uses_subgroups() != known.subgroups || known.subgroups && facts.min_subgroup == 1 {
        return Err(format!("it says subgroups: {}, and has them: {}", kernel.uses_subgroups(), known.subgroups));
    }
    let size = match &known.size {
        Size::Fixed(size) => *size,
        Size::Constant(name) => given.get(name.as_str()).map_or(0, |&size| size as u32),
    };
    if (1..=facts.max_workgroup_size).contains(&size) { Ok(()) } else { Err(format!("its workgroups have {size}")) }
}

/// Whether a host with such a device can run a recipe as it stands.
fn check_recipe(recipe: &Recipe<BufferId>, facts: &DeviceFacts) -> Result<(), String> {
    let used: BTreeSet<usize> = recipe.dispatches.iter().map(|d| d.kernel).collect();
    if used != (0..recipe.kernels.len()).collect() {
        return Err(format!("dispatches use kernels {used:?} of {}", recipe.kernels.len()));
    }
    for dispatch in &recipe.dispatches {
        let kernel = &recipe.kernels[dispatch.kernel];
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

/// A source that plans make.
struct Made {
    kernel: Kernel,
    /// The first recipe that has it.
    name: String,
    /// Bytes of parameters that dispatches have.
    parameters: BTreeSet<usize>,
    /// Kernels of this source and the devices they are for, once for each limit that they depend on.
    kernels: HashMap<(Kernel, [u32; 2]), DeviceFacts>,
}

fn check_made(made: &Made) -> Result<(), String> {
    let error = |error| format!("{} of {}: {error}", made.kernel, made.name);
    let known = check(&made.kernel, &made.kernel.source()).map_err(error)?;
    if made.parameters != [known.uniform as usize].into() {
        return Err(error(format!("{:?} bytes of parameters, its block has {}", made.parameters, known.uniform)));
    }
    let constants = |((kernel, _), facts): (&(Kernel, [u32; 2]), &DeviceFacts)| {
        check_constants(kernel, &known, facts).map_err(|error| format!("{kernel} of {}: {error}", made.name))
    };
    made.kernels.iter().try_for_each(constants)
}

/// Runs `check` over all on every core.
fn failures<T: Sync>(all: &[T], check: impl Fn(&T) -> Result<(), String> + Sync) -> Vec<String> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            check(one).unwrap_or_else(|error| found.lock().unwrap().push(error));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    found.into_inner().unwrap()
}

#[test]
fn every_kernel_that_plans_make_is_valid_and_every_recipe_can_be_run() {
    let mut sources: HashMap<Kernel, Made> = HashMap::new();
    let (mut recipes, mut wrong) = (0, Vec::new());
    for (device, facts) in catalogue::devices() {
        catalogue::recipes(&Planner::new(facts), &mut |name, recipe| {
            recipes += 1;
            if let Err(error) = check_recipe(&recipe, &facts) {
                wrong.push(format!("{} of {name} on {device}: {error}", recipe.operation));
            }
            for dispatch in &recipe.dispatches {
                let kernel = recipe.kernels[dispatch.kernel];
                // constants change no source but for its first line, the kernel's name
                let made = sources.entry(Kernel { overrides: Default::default(), ..kernel }).or_insert_with(|| {
                    let name = format!("{name} on {device}");
                    Made { kernel, name, parameters: BTreeSet::new(), kernels: HashMap::new() }
                });
                made.parameters.insert(dispatch.parameters.len());
                made.kernels.insert((kernel, [facts.max_workgroup_size, facts.min_subgroup]), facts);
            }
        });
    }
    let all = sources.len();
    // in the order of their names, since that of a map is another each time
    let mut sources: Vec<Made> = sources.into_values().collect();
    sources.sort_by_cached_key(|made| made.kernel.to_string());
    let sources: Vec<Made> = tier::some(sources).collect();
    let kernels: usize = sources.iter().map(|made| made.kernels.len()).sum();
    println!("{recipes} recipes; of {all} sources {} with {kernels} kernels", sources.len());
    wrong.extend(failures(&sources, check_made));
    let first: Vec<_> = wrong.iter().take(10).cloned().collect();
    assert!(wrong.is_empty(), "{} failures, some of them:\n{}", wrong.len(), first.join("\n"));
    assert!(recipes > 10_000 && sources.len() > 10, "{recipes} recipes, {} sources", sources.len());
}
