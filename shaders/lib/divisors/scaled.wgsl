// Moments that are numbers like the data: how they are scaled, and what tells the size of a segment.

// The moments of x * by.
fn record_times(record: vec4<f32>, by: f32) -> vec4<f32> { return vec4(record.xyz * by, record.w); }
// From units of a power of two, and as it is: lib/exact.wgsl.
fn record_from_units(record: vec4<f32>, unit: u32) -> vec4<f32> { return record_from(record, i32(unit)); }
fn record_as_is(record: vec4<f32>) -> vec4<f32> { return record_plain(record); }
fn is_tiny(record: vec4<f32>) -> bool { return record.w < 0.0; }
// What tells the size of a segment by its largest: magnitudes.
fn ranked4(bits: vec4<u32>) -> vec4<u32> { return bits; }
fn extent4(top: vec4<u32>) -> vec4<u32> { return top; }
