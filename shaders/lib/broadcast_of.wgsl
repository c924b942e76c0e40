// operand: a parameter over a partition of its own, of vector j of a row and of one element.
override OPERAND_FOUND: u32 = 0u;         // a row has one, neighbours have neighbours, or as it comes: as AFFINE
override OPERAND_PADDED: bool = false;
fn operand4(row: Row, j: u32) -> vec4<f32> {
    if OPERAND_FOUND == 0u { return vec4(operand1(row, 0u)); }
    let c = min(columns_of(row, j), vec4(row.width - 1u));
    if OPERAND_FOUND == 1u {
        // a row of the tensor may have several of the parameter
        let at = lookup_row(p.operand.lookup, p.operand.first + row.first) + c;
        return vec4(operand_of(at.x), operand_of(at.y), operand_of(at.z), operand_of(at.w));
    }
    return vec4(operand1(row, c.x), operand1(row, c.y), operand1(row, c.z), operand1(row, c.w));
}
fn operand1(row: Row, column: u32) -> f32 {
    return load_operand(place_of_element(p.operand, row.first + column, OPERAND_PADDED));
}
fn operand_of(segment: u32) -> f32 { return load_operand(place_of_segment(p.operand, segment, OPERAND_PADDED)); }
