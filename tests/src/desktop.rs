//! Whether a browser shows a desktop, and whether what is typed arrives there.

use std::{
    collections::HashSet,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use vdi_cluster::User;

use crate::{browser::Browser, stack::Stack, wait};

/// Opens the page and waits until a desktop is drawn. Saves the last picture in any case.
///
/// # Errors
/// After a minute, with what the last picture lacks.
pub async fn wait_until_drawn(browser: &Browser, url: &str, picture: &Path) -> Result<()> {
    browser.open(url).await?;
    wait_until_shown(browser, picture).await.with_context(|| format!("{url} shows no desktop"))
}

/// The same for a page that is already open.
pub async fn wait_until_shown(browser: &Browser, picture: &Path) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let start = Instant::now();
    loop {
        let png = browser.screenshot().await?;
        std::fs::write(picture, &png).with_context(|| format!("can't write {}", picture.display()))?;
        match shows_desktop(&png) {
            Ok(()) => return Ok(()),
            Err(error) if start.elapsed() > PATIENCE => {
                bail!("{error}; see {}", picture.display())
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}

/// Types a command into the terminal of a desktop that the browser shows, and waits until its result is in the user's home.
/// `session` is the namespace and the name, `word` a file name that wasn't used before.
///
/// # Errors
/// When it doesn't arrive.
pub async fn type_and_read_back(stack: &Stack, browser: &Browser, session: (&str, &str), word: &str) -> Result<()> {
    let (namespace, name) = session;
    browser.click_middle().await?;
    // The shell calculates, so that nothing but a shell can have written the result.
    browser.type_text(&format!("echo {word}-$((40+2)) > {word}.txt; cat {word}.txt\u{e007}")).await?;
    let (pod, read) = (format!("vdi-{name}"), format!("cat ~/{word}.txt"));
    let read = ["exec", "-n", namespace, &pod, "--", "sh", "-c", &read];
    wait::until(&format!("{word}.txt is in the home of {name}, as it was typed"), async || {
        Ok(stack.kubectl(&User::admin(), read).await?.stdout == format!("{word}-42\n").as_bytes())
    })
    .await
}

/// Checks the pixels of a PNG: this project's wallpaper covers much of it, the dark window of a terminal some, and text has many
/// colours. A blank page, an error page or a page without its desktop fails.
pub fn shows_desktop(png: &[u8]) -> Result<()> {
    let pixels = Pixels::decode(png)?;
    let wallpaper = pixels.share(is_wallpaper);
    let terminal = pixels.share(is_terminal);
    let colours = pixels.colours();
    ensure!(wallpaper > 0.3, "the wallpaper covers {:.0}% of the picture, not 30%", wallpaper * 100.0);
    ensure!(terminal > 0.08, "a terminal covers {:.0}% of the picture, not 8%", terminal * 100.0);
    ensure!(colours > 200, "there are {colours} colours in the picture, not 200");
    Ok(())
}

type Colour = [u8; 3];

fn is_wallpaper([r, g, b]: Colour) -> bool {
    b > 40 && b > r && b.saturating_sub(r) > 20 && g < b
}

fn is_terminal([r, g, b]: Colour) -> bool {
    r < 30 && g < 36 && b < 40
}

struct Pixels(Vec<Colour>);

impl Pixels {
    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::normalize_to_color8() | png::Transformations::STRIP_16);
        let mut reader = decoder.read_info().context("the browser's picture is not a PNG")?;
        let mut buffer = vec![0; reader.output_buffer_size().context("the picture is too large")?];
        let frame = reader.next_frame(&mut buffer)?;
        let channels = frame.color_type.samples();
        ensure!(channels >= 3, "the picture is not in colour");
        let pixels = buffer[..frame.buffer_size()].chunks_exact(channels).map(|pixel| [pixel[0], pixel[1], pixel[2]]);
        Ok(Self(pixels.collect()))
    }

    fn share(&self, matches: impl Fn(Colour) -> bool) -> f64 {
        self.0.iter().filter(|colour| matches(**colour)).count() as f64 / self.0.len().max(1) as f64
    }

    fn colours(&self) -> usize {
        self.0.iter().collect::<HashSet<_>>().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(colour_at: impl Fn(u32, u32) -> Colour) -> Vec<u8> {
        let (width, height) = (320, 200);
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Rgb);
        let pixels: Vec<u8> =
            (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| colour_at(x, y)).collect();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        bytes
    }

    #[test]
    fn the_picture_in_the_readme_shows_a_desktop() {
        shows_desktop(&std::fs::read(crate::workspace().join("docs/desktop.png")).unwrap()).unwrap();
    }

    #[test]
    fn a_blank_page_an_error_page_and_a_wallpaper_without_windows_show_none() {
        let blank = png(|_, _| [255, 255, 255]);
        let dark = png(|_, _| [16, 20, 24]);
        let error = png(|x, y| if y == 100 && x % 3 == 0 { [32, 33, 36] } else { [255, 255, 255] });
        let wallpaper = png(|x, y| [27, (74 + x / 8) as u8, (110 + y / 4) as u8]);
        for picture in [blank, dark, error, wallpaper] {
            assert!(shows_desktop(&picture).is_err());
        }
        assert!(shows_desktop(b"<html>").is_err());
    }
}
