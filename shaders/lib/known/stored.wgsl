// Coefficients of segments that were merged before.
const GIVEN = false;
fn affine_groups() -> u32 { return 0u; }
fn merge_affine(group: u32, local: u32) {}
fn know(local: u32, n: u32, first: u32, last: u32) {}
fn scale_at(n: u32) -> f32 { return affine_at(n - p.map_backward.first_row).scale; }
fn coefficients_at(n: u32, run: u32) -> Coefficients {
    let i = 2u * segment_at(n, run);
    return Coefficients(load_coefficients(i), load_coefficients(i + 1u));
}
