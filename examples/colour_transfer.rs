//! Gives one photograph the colours of another: adaptive instance norm of their lightness, green-red and blue-yellow.
//!
//! ```text
//! cargo run --release --example colour_transfer                          a cat at dusk, among temporary files
//! cargo run --release --example colour_transfer -- CONTENT STYLE RESULT  JPEG or PNG in, PNG out
//! ```

mod common;

use std::path::{Path, PathBuf};

use common::{Gpu, Result, moments};
use image::{Rgb, RgbImage};
use wgpu_norm::{AdaptiveArgs, AdaptiveDescriptor, BufferView, Destination, Epsilon, NormKind, TensorView};

/// A picture as N,C,H,W = 1,3,H,W in Oklab.
pub struct Lab {
    pub values: Vec<f32>,
    pub shape: [u64; 4],
}

/// Mean and deviation of a channel.
pub type Palette = Vec<(f64, f64)>;

impl Lab {
    pub fn of(picture: &RgbImage) -> Self {
        let (width, height) = picture.dimensions();
        let pixels: Vec<[f32; 3]> = picture.pixels().map(|pixel| oklab_of_srgb(pixel.0)).collect();
        let values = (0..3).flat_map(|channel| pixels.iter().map(move |pixel| pixel[channel])).collect();
        Self { values, shape: [1, 3, u64::from(height), u64::from(width)] }
    }

    pub fn picture(&self) -> RgbImage {
        let [_, _, height, width] = self.shape.map(|size| size as u32);
        let at = |channel: u32, x: u32, y: u32| self.values[((channel * height + y) * width + x) as usize];
        RgbImage::from_fn(width, height, |x, y| Rgb(srgb_of_oklab([0, 1, 2].map(|channel| at(channel, x, y)))))
    }

    pub fn palette(&self) -> Palette {
        let moments = moments(&self.values, &self.shape, &NormKind::Instance);
        moments.into_iter().map(|(mean, variance)| (mean, variance.sqrt())).collect()
    }
}

/// Oklab (Björn Ottosson, 2020): the cone responses of linear light, their cube roots, and of those lightness and two opponent colours.
const LMS_OF_RGB: [[f32; 3]; 3] = [
    [0.412_221_46, 0.536_332_55, 0.051_445_995],
    [0.211_903_5, 0.680_699_5, 0.107_396_96],
    [0.088_302_46, 0.281_718_85, 0.629_978_7],
];
const LAB_OF_LMS: [[f32; 3]; 3] = [
    [0.210_454_26, 0.793_617_8, -0.004_072_047],
    [1.977_998_5, -2.428_592_2, 0.450_593_7],
    [0.025_904_037, 0.782_771_77, -0.808_675_77],
];
const LMS_OF_LAB: [[f32; 3]; 3] =
    [[1.0, 0.396_337_78, 0.215_803_76], [1.0, -0.105_561_346, -0.063_854_17], [1.0, -0.089_484_18, -1.291_485_5]];
const RGB_OF_LMS: [[f32; 3]; 3] = [
    [4.076_741_7, -3.307_711_6, 0.230_969_94],
    [-1.268_438, 2.609_757_4, -0.341_319_38],
    [-0.004_196_086_3, -0.703_418_6, 1.707_614_7],
];

fn product(matrix: &[[f32; 3]; 3], v: [f32; 3]) -> [f32; 3] {
    matrix.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2])
}

pub fn oklab_of_srgb(rgb: [u8; 3]) -> [f32; 3] {
    let linear = rgb.map(|byte| {
        let c = f32::from(byte) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    });
    product(&LAB_OF_LMS, product(&LMS_OF_RGB, linear).map(f32::cbrt))
}

/// The nearest bytes; a colour that sRGB does not have is cut off at its bounds.
pub fn srgb_of_oklab(lab: [f32; 3]) -> [u8; 3] {
    product(&RGB_OF_LMS, product(&LMS_OF_LAB, lab).map(|root| root * root * root)).map(|linear| {
        let c = if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 };
        (255.0 * c).round().clamp(0.0, 255.0) as u8
    })
}

/// The content with the style's mean and deviation in each channel.
pub fn transfer(content: &Lab, style: &Lab) -> Result<Lab> {
    let gpu = Gpu::open()?;
    // the variances of colours are about 1e-4, and eps is to be nothing beside them
    let eps = Epsilon::InsideRoot(1e-9);
    let descriptor = AdaptiveDescriptor { eps, ..AdaptiveDescriptor::new(&content.shape, &style.shape) };
    let norm = gpu.engine.create_adaptive_norm(&descriptor)?;
    let (picture, style, workspace) = (gpu.upload(&content.values), gpu.upload(&style.values), norm.create_workspace());
    let args = AdaptiveArgs::new(TensorView::whole(&picture), TensorView::whole(&style), Destination::InPlace);
    gpu.run(&[&norm.bind_forward(&args.workspace(workspace.as_ref().map(BufferView::whole)))?]);
    Ok(Lab { values: gpu.download(&picture)?, shape: content.shape })
}

/// The photographs that come with the example.
pub fn photographs() -> [PathBuf; 2] {
    ["cat.jpg", "dusk.jpg"].map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data").join(name))
}

pub fn open(path: &Path) -> Result<Lab> {
    let picture = image::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Lab::of(&picture.to_rgb8()))
}

fn main() -> Result<()> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [content_path, style_path, result_path] = match <[PathBuf; 3]>::try_from(args) {
        Ok(paths) => paths,
        Err(none) if none.is_empty() => {
            let [content, style] = photographs();
            [content, style, std::env::temp_dir().join("colour_transfer.png")]
        }
        Err(_) => return Err("give CONTENT STYLE RESULT, or nothing".into()),
    };
    let (content, style) = (open(&content_path)?, open(&style_path)?);
    let result = transfer(&content, &style)?;

    println!("           lightness           green - red          blue - yellow");
    println!("           mean     deviation  mean     deviation   mean     deviation");
    for (name, lab) in [("content", &content), ("style", &style), ("result", &result)] {
        let columns: Vec<_> = lab.palette().iter().map(|(mean, d)| format!("{mean:>7.4} {d:>10.4}")).collect();
        println!("{name:<8} {}", columns.join("  "));
    }
    result.picture().save_with_format(&result_path, image::ImageFormat::Png)?;
    println!("\nwritten: {}", result_path.display());
    Ok(())
}
