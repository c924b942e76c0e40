//! Embedding: an application with its own device, its own buffers and its own compute passes, and a norm between them.
//!
//! ```text
//! cargo run --example embed             the adapter's limits
//! cargo run --example embed -- default  WebGPU's default limits, no feature
//! ```
//!
//! A small signal chain: the application writes a ramp of rows and a residual, layer norm normalizes each row of their
//! sum in place and leaves the sum for later, all in one dispatch, and the application squares the result. All of it is
//! one compute pass, one encoder and one submit; nothing is copied in between.

use wgpu_norm::{
    Affine, BufferView, Destination, ForwardArgs, FusedArgs, Fusion, NormDescriptor, NormEngine, NormEngineDescriptor,
    NormKind, Prologue, TensorView,
};

const ROWS: u64 = 1000;
const COLS: u64 = 300;

/// The application's own kernels: what comes before and after the norm.
const APPLICATION: &str = "
    @group(0) @binding(0) var<storage, read_write> data: array<f32>;
    @compute @workgroup_size(64) fn fill(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x < arrayLength(&data) { data[id.x] = 1e5 + f32(id.x % 300u); }
    }
    @compute @workgroup_size(64) fn residual(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x < arrayLength(&data) { data[id.x] = f32(id.x / 300u % 7u) * f32(id.x % 300u); }
    }
    @compute @workgroup_size(64) fn square(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x < arrayLength(&data) { data[id.x] = data[id.x] * data[id.x]; }
    }
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let default_limits = std::env::args().nth(1).as_deref() == Some("default");
    let required_limits = if default_limits { wgpu::Limits::default() } else { NormEngine::required_limits(&adapter) };
    let descriptor = wgpu::DeviceDescriptor { label: Some("application"), required_limits, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))?;
    println!(
        "adapter: {}, {} limits, features: {:?}",
        adapter.get_info().name,
        if default_limits { "default" } else { "its own" },
        device.features()
    );

    // the application's buffers and pipelines
    let [signal, residual, stream] = ["signal", "residual", "stream"].map(|label| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: ROWS * COLS * 4,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        })
    });
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(APPLICATION.into()),
    });
    let stages = [("fill", &signal), ("residual", &residual), ("square", &signal)];
    let [fill, fill_residual, square] = stages.map(|(entry_point, buffer)| {
        let (layout, compilation_options, cache) = (None, Default::default(), None);
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(entry_point),
            layout,
            module: &module,
            entry_point: Some(entry_point),
            compilation_options,
            cache,
        });
        let entries = &[wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }];
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries,
        });
        (pipeline, bind_group)
    });

    // the norm: plan, bind
    let engine = NormEngine::new(&device, &NormEngineDescriptor::default())?;
    let norm = engine.create_norm(&NormDescriptor {
        affine: Affine::None,
        fusion: Fusion::default().prologue(Prologue::residual(&[0, 1])),
        ..NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &[ROWS, COLS])
    })?;
    let workspace = norm.create_workspace()?;
    let sum = FusedArgs::default().residual(TensorView::whole(&residual)).sum(TensorView::whole(&stream));
    let args = ForwardArgs::new(TensorView::whole(&signal), Destination::InPlace).fused(sum);
    let bound = norm.bind_forward(&args.workspace(workspace.as_ref().map(BufferView::whole)))?;
    println!("norm: {}, workspace {} bytes", norm.schedule(), norm.workspace_size());
    bound.kernels().for_each(|kernel| println!("  {kernel}"));

    // record: fill, add and normalize, square in one pass
    let mut encoder = device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    let workgroups = (ROWS * COLS).div_ceil(64) as u32;
    for stage in [Some(&fill), Some(&fill_residual), None, Some(&square)] {
        match stage {
            Some((pipeline, bind_group)) => {
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, bind_group, &[]);
                pass.dispatch_workgroups(workgroups, 1, 1);
            }
            None => bound.record(&mut pass),
        }
    }
    drop(pass);
    queue.submit([encoder.finish()]);
    println!("recorded fill, sum and norm ({} dispatch) and square into one pass; 1 submit", bound.dispatch_count());

    // the mean of the squares of normalized rows is their variance: 1
    let read = |buffer: &wgpu::Buffer| wgpu_norm::read_buffer_blocking(&device, &queue, buffer, 0..buffer.size());
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(&read(&signal)?);
    let mean_square = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
    println!("mean square of {} normalized values: {mean_square:.7} (1 expected)", values.len());
    if (mean_square - 1.0).abs() > 1e-5 {
        return Err("the norm is off".into());
    }
    let sums: Vec<f32> = bytemuck::pod_collect_to_vec(&read(&stream)?);
    let is_sum = |(i, &sum): (usize, &f32)| sum == 1e5 + (1 + i / 300 % 7) as f32 * (i % 300) as f32;
    if !sums.iter().enumerate().all(is_sum) {
        return Err("the sum is off".into());
    }
    println!("and the sum of signal and residual is there for what comes later");
    Ok(())
}
