//! Norms with a device: plans whose recipes are bound at once.

use std::ops::Deref;
use std::sync::Arc;

use super::NormEngine;
use crate::device::{BoundNorm, Device, scope};
use crate::error::BindError;
use crate::norm::*;

/// A plan, its label and the device that its recipes are bound on; and a method for each operation.
macro_rules! norm {
    (
        $(#[$doc:meta])* $name:ident($plan:ident, $kind:literal)
        $($(#[$method:meta])* $bind:ident: $operation:ident($args:ident);)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            device: Arc<Device>,
            plan: Arc<$plan>,
            label: Arc<str>,
        }

        impl $name {
            pub(super) fn new(engine: &NormEngine, plan: $plan, label: Option<&str>) -> Self {
                let label = format!("{} {}", engine.device.compiler.label, label.unwrap_or($kind));
                Self { device: engine.device.clone(), plan: Arc::new(plan), label: label.into() }
            }

            $(
                $(#[$method])*
                ///
                /// # Errors
                /// [`BindError`] says which operand is wrong; nothing has been recorded or written then.
                pub fn $bind(&self, args: &$args<&wgpu::Buffer>) -> Result<BoundNorm, BindError> {
                    self.device.bind(&self.label, &self.plan.$operation(args)?)
                }
            )*

            /// A buffer of so many bytes, if there are any.
            fn create_buffer(&self, what: &str, size: u64) -> Result<Option<wgpu::Buffer>, BindError> {
                if size == 0 {
                    return Ok(None);
                }
                let label = format!("{} {what}", self.label);
                let usage = wgpu::BufferUsages::STORAGE;
                let descriptor =
                    wgpu::BufferDescriptor { label: Some(&label), size, usage, mapped_at_creation: false };
                let device = self.device.device();
                let made = scope::catch(device, || device.create_buffer(&descriptor));
                made.map(Some).map_err(|error| BindError::NoWorkspace { size, message: error.to_string() })
            }

            /// A buffer of `workspace_size` bytes, if any are needed. One serves any number of norms in turn.
            ///
            /// # Errors
            /// [`BindError::NoWorkspace`] where the device has no room for it.
            pub fn create_workspace(&self) -> Result<Option<wgpu::Buffer>, BindError> {
                self.create_buffer("workspace", self.workspace_size())
            }
        }

        impl Deref for $name {
            type Target = $plan;

            fn deref(&self) -> &$plan {
                &self.plan
            }
        }
    };
}

norm! {
    /// A norm planned for one shape, on a device. Its sizes are those of its [`NormPlan`]. Cheap to clone; `Send +
    /// Sync`.
    Norm(NormPlan, "norm")
    /// Binds a forward pass. The binding can be recorded any number of times.
    bind_forward: forward(ForwardArgs);
    /// Binds a forward pass that saves the statistics of its input as moments.
    bind_training: training(TrainingArgs);
    /// Binds the conversion of saved moments to plain numbers.
    bind_export: export(ExportArgs);
    /// Binds the conversion of running means and variances to moments.
    bind_import: import(ImportArgs);
    /// Binds the update of running statistics by the moments of a training pass.
    bind_running_update: running_update(RunningArgs);
    /// Binds the moments of one shard of a batch.
    bind_moments: moments(MomentsArgs);
    /// Binds the merge of the records of shards.
    bind_merge: merge(MergeArgs);
    /// Binds a backward pass: every gradient that has a view.
    bind_backward: backward(BackwardArgs);
    /// Binds the sums that the gradient to the input needs, and the gradients to scale and bias of this shard.
    bind_gradient_sums: gradient_sums(GradientSumsArgs);
    /// Binds the gradient to the input from merged sums.
    bind_input_gradient: input_gradient(InputGradientArgs);
}

norm! {
    /// An adaptive instance norm on a device. Its sizes are those of its [`AdaptivePlan`]. Cheap to clone; `Send +
    /// Sync`.
    AdaptiveNorm(AdaptivePlan, "adain")
    /// Binds a forward pass, which saves the moments of the content where asked.
    bind_forward: forward(AdaptiveArgs);
    /// Binds a backward pass: the gradients to content and style that have a view.
    bind_backward: backward(AdaptiveBackwardArgs);
}

norm! {
    /// A spectral norm on a device. Its sizes are those of its [`SpectralPlan`]. Cheap to clone; `Send + Sync`.
    SpectralNorm(SpectralPlan, "spectral")
    /// Binds the power iterations and the division, all in as many dispatches of one pass.
    bind_forward: forward(SpectralArgs);
    /// Binds the gradient to the weight, u and v being constants.
    bind_backward: backward(SpectralBackwardArgs);
}

impl Norm {
    /// A buffer of [`NormPlan::backward_workspace_size`] bytes, if any are needed.
    ///
    /// # Errors
    /// [`BindError::NoWorkspace`] where the device has no room for it.
    pub fn create_backward_workspace(&self) -> Result<Option<wgpu::Buffer>, BindError> {
        self.create_buffer("backward workspace", self.backward_workspace_size())
    }

    /// The same norm with another of its [`NormPlan::backward_schedules`]; `None` if it is none of them.
    pub fn with_backward_schedule(&self, schedule: crate::schedule::Backward) -> Option<Self> {
        let plan = self.plan.with_backward_schedule(schedule)?;
        Some(Self { plan: Arc::new(plan), ..self.clone() })
    }
}

impl AdaptiveNorm {
    /// A buffer of [`AdaptivePlan::backward_workspace_size`] bytes, if any are needed.
    ///
    /// # Errors
    /// [`BindError::NoWorkspace`] where the device has no room for it.
    pub fn create_backward_workspace(&self) -> Result<Option<wgpu::Buffer>, BindError> {
        self.create_buffer("backward workspace", self.backward_workspace_size())
    }
}
