//! Which images, and how they are built.

use anyhow::Result;
use vdi_release::image::{Architecture, Image, Profile, Program};
use vdi_tests::{desktop_image, images};

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub enum Name {
    Controller,
    Gateway,
    Desktop,
}

#[derive(clap::Args)]
pub struct Which {
    /// The images; all if none is named
    #[arg(value_enum)]
    images: Vec<Name>,

    /// For this machine's architecture only, and without optimizations that take long; what is released is built without this
    #[arg(long)]
    pub fast: bool,
}

impl Which {
    fn has(&self, name: Name) -> bool {
        self.images.is_empty() || self.images.contains(&name)
    }

    pub fn programs(&self) -> Vec<Program> {
        let named = |program: &Program| match program {
            Program::Controller => self.has(Name::Controller),
            Program::Gateway => self.has(Name::Gateway),
        };
        Program::ALL.into_iter().filter(named).collect()
    }

    pub fn profile(&self) -> Profile {
        if self.fast { Profile::Demo } else { Profile::Release }
    }

    pub fn architectures(&self) -> Result<Vec<Architecture>> {
        if self.fast { Ok(vec![Architecture::of_this_machine()?]) } else { Ok(Architecture::ALL.to_vec()) }
    }

    /// Builds them.
    pub async fn build(&self) -> Result<Vec<Image>> {
        let mut built = Vec::new();
        let programs = self.programs();
        if !programs.is_empty() {
            built = images::build(programs, self.profile(), self.architectures()?).await?;
        }
        if self.has(Name::Desktop) {
            built.push(desktop_image::build(self.architectures()?).await?);
        }
        Ok(built)
    }
}
