// Numbers to bytes, four a word: q = y / scale to the nearest, ties to even, in the range of the format.
//
//   for each word of the bytes                                       (a lane each)
//       each of its four elements: its scale is that of its row, of its block of columns, or the only one
//   bytes of a word that are not the tensor's stay as they are
//
// bindings: parameters, unquantized, scales (read), quantized (write)

override WORKGROUP: u32 = 256u;
override E4M3: bool = false;        // or whole numbers from -128 to 127
override STATIC: bool = false;      // one scale
override ALIGNED: bool = false;     // the bytes begin with a word
struct Quantize {
    elements: u32,
    words: u32,
    phase: u32,      // bytes of the first word before the tensor
    width: u32,      // elements of a row
    block: u32,      // columns that share a scale
    blocks: u32,     // of a row
}

fn run(group: u32, local: u32) {
    let w = group * WORKGROUP + local;
    if w >= p.quantize.words { return; }
    let first = 4u * w - p.quantize.phase;
    let i = vec4(first) + vec4(0u, 1u, 2u, 3u);
    let begun = vec4(4u * w) + vec4(0u, 1u, 2u, 3u) >= vec4(p.quantize.phase);
    let live = begun & (i < vec4(p.quantize.elements));
    let there = min(i, vec4(p.quantize.elements - 1u));
    var y: vec4<f32>;
    if ALIGNED && all(live) {
        y = load4_unquantized(first);
    } else {
        y = vec4(load_unquantized(there.x), load_unquantized(there.y), load_unquantized(there.z),
            load_unquantized(there.w));
    }
    let q = y / vec4(scale_at(there.x), scale_at(there.y), scale_at(there.z), scale_at(there.w));
    var codes = whole_codes(q);
    if E4M3 { codes = e4m3_codes(q); }
    let word = codes.x | (codes.y << 8u) | (codes.z << 16u) | (codes.w << 24u);
    if all(live) {
        store_quantized(w, word);
    } else {
        let bytes = select(vec4(0u), vec4(0xffu, 0xff00u, 0xff0000u, 0xff000000u), live);
        let mask = bytes.x | bytes.y | bytes.z | bytes.w;
        store_quantized(w, (load_quantized(w) & ~mask) | (word & mask));
    }
}
fn scale_at(i: u32) -> f32 {
    if STATIC { return load_scales(0u); }
    let row = i / p.quantize.width;
    return load_scales(row * p.quantize.blocks + (i - row * p.quantize.width) / p.quantize.block);
}
fn whole_codes(q: vec4<f32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(vec4<i32>(clamp(round(q), vec4(-128.0), vec4(127.0)))) & vec4(0xffu);
}
// Sign, four bits of exponent (bias 7), three of mantissa; no infinity; 448 is the largest.
fn e4m3_codes(q: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(q);
    let sign = (bits >> vec4(24u)) & vec4(0x80u);
    let top = bits & vec4(0x7fffffffu);
    let magnitude = min(top, vec4(0x43e00000u));
    let normal = ((magnitude + vec4(0x7ffffu) + ((magnitude >> vec4(20u)) & vec4(1u))) >> vec4(20u)) - vec4(120u << 3u);
    // below 2^-6 in steps of 2^-9
    let subnormal = vec4<u32>(round(bitcast<vec4<f32>>(magnitude) * 512.0));
    let code = select(normal, subnormal, magnitude < vec4(0x3c800000u));
    return sign | select(code, vec4(0x7fu), top > vec4(0x7f800000u));
}
