// A picture to the planes of its Oklab colours, and back. What lies between is a norm of the package.
//
//     split:  planes[channel * pixels + y * width + x] = oklab(texture[x, y])[channel]
//     join:   colour = srgb(mix(before, after, strength))
//
//     split:  0 picture; 1 planes, written
//     join:   0 planes before, read; 1 planes after, read; 2 (width, height, strength)

@group(0) @binding(0) var picture: texture_2d<f32>;
@group(0) @binding(1) var<storage, read_write> planes: array<f32>;

fn linear(encoded: vec3<f32>) -> vec3<f32> {
    let low = encoded / 12.92;
    let high = pow((encoded + 0.055) / 1.055, vec3<f32>(2.4));
    return select(high, low, encoded <= vec3<f32>(0.04045));
}

fn encoded(linear: vec3<f32>) -> vec3<f32> {
    let inside = clamp(linear, vec3<f32>(0.0), vec3<f32>(1.0));
    let low = inside * 12.92;
    let high = 1.055 * pow(inside, vec3<f32>(1.0 / 2.4)) - 0.055;
    return select(high, low, inside <= vec3<f32>(0.0031308));
}

fn cube_root(x: vec3<f32>) -> vec3<f32> {
    return pow(max(x, vec3<f32>(0.0)), vec3<f32>(1.0 / 3.0));
}

// Rows of both matrices are as Björn Ottosson published them.
fn oklab(rgb: vec3<f32>) -> vec3<f32> {
    let cones = cube_root(vec3<f32>(
        dot(rgb, vec3<f32>(0.4122214708, 0.5363325363, 0.0514459929)),
        dot(rgb, vec3<f32>(0.2119034982, 0.6806995451, 0.1073969566)),
        dot(rgb, vec3<f32>(0.0883024619, 0.2817188376, 0.6299787005)),
    ));
    return vec3<f32>(
        dot(cones, vec3<f32>(0.2104542553, 0.7936177850, -0.0040720468)),
        dot(cones, vec3<f32>(1.9779984951, -2.4285922050, 0.4505937099)),
        dot(cones, vec3<f32>(0.0259040371, 0.7827717662, -0.8086757660)),
    );
}

fn rgb(lab: vec3<f32>) -> vec3<f32> {
    let cones = vec3<f32>(
        dot(lab, vec3<f32>(1.0, 0.3963377774, 0.2158037573)),
        dot(lab, vec3<f32>(1.0, -0.1055613458, -0.0638541728)),
        dot(lab, vec3<f32>(1.0, -0.0894841775, -1.2914855480)),
    );
    let cubed = cones * cones * cones;
    return vec3<f32>(
        dot(cubed, vec3<f32>(4.0767416621, -3.3077115913, 0.2309699292)),
        dot(cubed, vec3<f32>(-1.2684380046, 2.6097574011, -0.3413193965)),
        dot(cubed, vec3<f32>(-0.0041960863, -0.7034186147, 1.7076147010)),
    );
}

@compute @workgroup_size(8, 8)
fn split(@builtin(global_invocation_id) place: vec3<u32>) {
    let size = textureDimensions(picture);
    if place.x >= size.x || place.y >= size.y {
        return;
    }
    let lab = oklab(linear(textureLoad(picture, place.xy, 0).rgb));
    let pixels = size.x * size.y;
    let i = place.y * size.x + place.x;
    planes[i] = lab.x;
    planes[pixels + i] = lab.y;
    planes[2u * pixels + i] = lab.z;
}

struct Joined {
    size: vec2<u32>,
    strength: f32,
    unused: f32,
}

@group(0) @binding(0) var<storage, read> before: array<f32>;
@group(0) @binding(1) var<storage, read> after: array<f32>;
@group(0) @binding(2) var<uniform> joined: Joined;

@vertex
fn whole(@builtin(vertex_index) i: u32) -> @builtin(position) vec4<f32> {
    // one triangle over all of the picture
    return vec4<f32>(f32(i & 1u) * 4.0 - 1.0, f32(i >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

@fragment
fn join(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let place = min(vec2<u32>(position.xy), joined.size - 1u);
    let pixels = joined.size.x * joined.size.y;
    let i = place.y * joined.size.x + place.x;
    let from_lab = vec3<f32>(before[i], before[pixels + i], before[2u * pixels + i]);
    let to_lab = vec3<f32>(after[i], after[pixels + i], after[2u * pixels + i]);
    return vec4<f32>(encoded(rgb(mix(from_lab, to_lab, joined.strength))), 1.0);
}
