//! How memory is walked: pure arithmetic of rows, segments and windows.

pub(crate) mod lookup;
pub(crate) mod window;
