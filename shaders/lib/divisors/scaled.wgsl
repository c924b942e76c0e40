// Moments that are numbers like the data (lib/exact.wgsl); magnitudes tell the size of a segment.
fn record_times(record: vec4<f32>, by: f32) -> vec4<f32> { return vec4(record.xyz * by, record.w); }
fn record_from_units(record: vec4<f32>, unit: u32) -> vec4<f32> { return record_from(record, i32(unit)); }
fn record_as_is(record: vec4<f32>) -> vec4<f32> { return record_plain(record); }
fn is_tiny(record: vec4<f32>) -> bool { return record.w < 0.0; }
fn ranked4(bits: vec4<u32>) -> vec4<u32> { return bits; }
fn extent4(top: vec4<u32>) -> vec4<u32> { return top; }
