//! The planner: a device as facts and a profile, from descriptors to planned norms.

use super::NormPlan;
use crate::descriptor::NormDescriptor;
use crate::element::Element;
use crate::error::{BindError, PlanError};
use crate::facts::DeviceFacts;
use crate::kernel::MAX_SLOTS;
use crate::lower::Lowering;
use crate::lower::bindings::{Needed, Unbindable};
use crate::plan::Plan;
use crate::recipe::Recipe;
use crate::schedule::{DeviceProfile, ProfileMismatch, Schedule};
use crate::view::Buffer;

/// Plans norms for a device that it knows by its facts alone. `NormEngine` is a planner with a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Planner {
    pub(crate) facts: DeviceFacts,
    pub(crate) profile: DeviceProfile,
}

impl Planner {
    /// With the schedules that suit such a device by default.
    pub fn new(facts: DeviceFacts) -> Self {
        let facts = facts.usable();
        Self { facts, profile: DeviceProfile::new(&facts) }
    }

    /// With schedules by a profile of the caller's.
    ///
    /// # Errors
    /// [`ProfileMismatch`] where the device cannot follow the profile.
    pub fn with_profile(facts: DeviceFacts, profile: DeviceProfile) -> Result<Self, ProfileMismatch> {
        let facts = facts.usable();
        profile.check(&facts)?;
        // what can be bound is the device's own affair
        let profile = DeviceProfile { max_binding: facts.max_range(), ..profile };
        Ok(Self { facts, profile })
    }

    /// What is known of the device.
    pub fn facts(&self) -> &DeviceFacts {
        &self.facts
    }

    /// How schedules see the device.
    pub fn profile(&self) -> &DeviceProfile {
        &self.profile
    }

    /// For tensors of this type.
    pub(super) fn of(&self, element: Element) -> Self {
        Self { profile: self.profile.of(element), ..*self }
    }

    /// Plans a norm.
    ///
    /// # Errors
    /// [`PlanError`] says what is wrong with the descriptor.
    pub fn plan(&self, descriptor: &NormDescriptor<'_>) -> Result<NormPlan, PlanError> {
        let plan = Plan::new(descriptor)?;
        let planner = self.of(plan.types.input);
        let schedule = Schedule::choose(&plan.computed, plan.affine.as_ref(), &planner.profile);
        Ok(NormPlan::new(planner, plan, schedule))
    }

    /// Plans a norm with a schedule of the caller's choice; `None` where that cannot compute it.
    ///
    /// # Errors
    /// As [`Planner::plan`].
    pub fn plan_with(
        &self,
        descriptor: &NormDescriptor<'_>,
        schedule: Schedule,
    ) -> Result<Option<NormPlan>, PlanError> {
        let plan = Plan::new(descriptor)?;
        let planner = self.of(plan.types.input);
        let accepts = schedule.accepts(&plan.computed, plan.affine.as_ref(), &planner.profile);
        Ok(accepts.then(|| NormPlan::new(planner, plan, schedule)))
    }

    /// Schedules that can compute the norm: the one that is chosen first.
    ///
    /// # Errors
    /// As [`Planner::plan`].
    pub fn schedules(&self, descriptor: &NormDescriptor<'_>) -> Result<Vec<Schedule>, PlanError> {
        let plan = Plan::new(descriptor)?;
        Ok(Schedule::candidates(&plan.computed, plan.affine.as_ref(), &self.of(plan.types.input).profile))
    }

    /// Lowers stages over these buffers to a recipe.
    pub(crate) fn lower<B: Buffer>(
        &self,
        operation: &'static str,
        buffers: Vec<B>,
        stages: &dyn Fn(&mut Lowering) -> Result<(), Unbindable>,
    ) -> Result<Recipe<B>, BindError> {
        let sizes = buffers.iter().map(Buffer::size).collect();
        let mut lowering = Lowering::new(self.facts, self.profile, sizes);
        let facts = &self.facts;
        stages(&mut lowering).map_err(|reason| {
            let (limit, needed, available) = match *reason.0 {
                Needed::Bytes(needed) => ("max_storage_buffer_binding_size", needed, facts.max_binding / 4 * 4),
                Needed::Bindings(needed) => {
                    // kernels have no more, whatever the device has
                    let available = facts.max_storage_buffers.min(MAX_SLOTS as u32);
                    ("max_storage_buffers_per_shader_stage", needed.into(), available.into())
                }
            };
            BindError::Limit { operation, limit, needed, available }
        })?;
        lowering.recipe(operation, buffers)
    }
}
