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
use palette::convert::FromColorUnclamped;
use palette::{FromColor, LinSrgb, Oklab, Srgb};
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

pub fn oklab_of_srgb(rgb: [u8; 3]) -> [f32; 3] {
    Oklab::from_color(Srgb::from(rgb).into_linear::<f32>()).into()
}

/// The nearest bytes; a colour that sRGB does not have is cut off at its bounds.
pub fn srgb_of_oklab(lab: [f32; 3]) -> [u8; 3] {
    Srgb::from_linear(LinSrgb::from_color_unclamped(Oklab::from(lab))).into()
}
/// The content with the style's mean and deviation in each channel.
pub fn transfer(content: &Lab, style: &Lab) -> Result<Lab> {
    let gpu = Gpu::open()?;
    // the variances of colours are about 1e-4, and eps is to be nothing beside them
    let eps = Epsilon::InsideRoot(1e-9);
    let descriptor = AdaptiveDescriptor { eps, ..AdaptiveDescriptor::new(&content.shape, &style.shape) };
    let norm = gpu.engine.create_adaptive_norm(&descriptor)?;
    let (picture, style, workspace) =
        (gpu.upload(&content.values), gpu.upload(&style.values), norm.create_workspace()?);
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
