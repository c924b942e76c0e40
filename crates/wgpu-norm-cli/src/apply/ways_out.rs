//! What would help where a norm is refused: the option, the axis or the shape that people look for.

use wgpu_norm::{BindError, MemoryFormat, PlanError};
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::shapes::{along, axes_like, fits};

use super::settings::{Settings, Which};

impl Settings<'_> {
    /// A refusal of an input of `shape`, with what would help where something does.
    pub fn way_out(&self, failure: Failure, shape: &[u64]) -> Failure {
        match failure {
            Failure::Bind(BindError::SingleElement { kind, shape }) => {
                let way_out = self.beside_single_elements(&shape);
                Failure::SingleElement { kind, shape, way_out }
            }
            Failure::Plan(error @ PlanError::GroupsDoNotDivideChannels { groups, .. }) => {
                match self.other_format(shape) {
                    Some((format, axis)) if shape[axis].is_multiple_of(groups) => {
                        Failure::Usage(format!("{error}; {format} has {} along axis {axis}", shape[axis]))
                    }
                    _ => error.into(),
                }
            }
            Failure::Plan(error @ PlanError::StyleShape { .. }) => self.style(error),
            failure => failure,
        }
    }

    fn beside_single_elements(&self, shape: &[u64]) -> String {
        match (&self.which, shape) {
            (Which::Instance, [channels, length]) if self.format == MemoryFormat::ChannelsFirst => format!(
                "; axes are N, C, space: one sample of {channels} channels and a length of {length} has shape \
                 [1, {channels}, {length}]"
            ),
            (Which::Instance, [length, channels]) => format!(
                "; axes are N, space, C: one sample of a length of {length} and {channels} channels has shape \
                 [1, {length}, {channels}]"
            ),
            (Which::Batch, _) => "; --running-mean and --running-var without --training normalize by others".to_owned(),
            (Which::Adain { .. }, _) => "; without --unbiased they are computed".to_owned(),
            _ => String::new(),
        }
    }

    /// A style that fits where the channels are elsewhere.
    fn style(&self, error: PlanError) -> Failure {
        let PlanError::StyleShape { style, content, .. } = &error else { return error.into() };
        let is_alike = style.len() == content.len() && (style[0] == 1 || style[0] == content[0]);
        match self.other_format(content) {
            Some((format, axis)) if is_alike && style[axis] == content[axis] => {
                Failure::Usage(format!("{error}; {format} has the channels along axis {axis}, where both have them"))
            }
            _ => error.into(),
        }
    }

    /// The option that takes another axis for the channels, and that axis.
    fn other_format(&self, shape: &[u64]) -> Option<(&'static str, usize)> {
        let has_channels =
            matches!(self.which, Which::Batch | Which::Instance | Which::Group { .. } | Which::Adain { .. });
        match self.format {
            _ if !has_channels || shape.len() < 3 => None,
            MemoryFormat::ChannelsFirst => Some(("--format channels-last", shape.len() - 1)),
            MemoryFormat::ChannelsLast => Some(("--format channels-first", 1)),
        }
    }

    /// What would help where the file of `option` has another shape than the one expected for an input of a shape; with
    /// its punctuation.
    pub fn way_out_of_shape(&self, option: &str, [actual, expected, shape]: [&[u64]; 3]) -> String {
        let other = self.other_format(shape).filter(|&(_, axis)| fits(actual, &along(shape, &[axis])));
        if let Some((format, axis)) = other.filter(|_| option != "--static-scale") {
            return format!("; {format} has its channels along axis {axis}, {} of them", shape[axis]);
        }
        let significant = |shape: &[u64]| shape.iter().copied().filter(|&size| size != 1).collect::<Vec<_>>();
        let sorted = |shape: &[u64]| {
            let mut sizes = significant(shape);
            sizes.sort_unstable();
            sizes
        };
        let (ours, needed) = (significant(actual), significant(expected));
        if ours != needed && sorted(actual) == sorted(expected) {
            return "; it has these sizes in another order: transpose it".to_owned();
        }
        let elements = |sizes: &[u64]| sizes.iter().product::<u64>();
        if !ours.is_empty() && elements(&ours) == elements(&needed) && ours.len() != needed.len() {
            return "; it has as many elements: give it that shape, if they are in that order".to_owned();
        }
        let axes = axes_like(actual, shape).filter(|axes| !axes.is_empty());
        let Some(axes) = axes else { return String::new() };
        let list = listed(&axes);
        match (&self.which, option) {
            (Which::Weight { .. }, _) if axes.len() == 1 => format!("; it fits --dim {list}"),
            (_, "--scale" | "--bias") => format!("; it fits --scale-axes {list}"),
            (_, "--running-mean" | "--running-var") => format!("; it has the size of axis {list}, not of the channels"),
            _ => String::new(),
        }
    }
}

/// A normalized shape that is not the end of the input's, and the axes that have its sizes.
pub fn of_normalized_shape(error: PlanError, sizes: &[u64], shape: &[u64]) -> Failure {
    match axes_like(sizes, shape).filter(|axes| !axes.is_empty()) {
        Some(axes) => Failure::Usage(format!("{error}; --axes {} has these sizes", listed(&axes))),
        None => error.into(),
    }
}

/// As the command line has axes.
fn listed(axes: &[usize]) -> String {
    axes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
