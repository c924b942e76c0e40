// Statistics that are given are constants: no sums, nothing but what normalizes.
const GIVEN = true;
fn affine_groups() -> u32 { return 0u; }
fn merge_affine(group: u32, local: u32) {}
fn know(local: u32, n: u32, first: u32, last: u32) {}
fn scale_at(n: u32) -> f32 { return affine_at(n - p.map_backward.first_row).scale; }
fn coefficients_at(n: u32, run: u32) -> Coefficients {
    return Coefficients(normalizer(load_moments(segment_at(n, run))), vec4(0.0));
}
