/// A program that has an image of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Controller,
    Gateway,
}

impl Program {
    pub const ALL: [Self; 2] = [Self::Controller, Self::Gateway];

    /// The image's name: the last part of its repository.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Gateway => "gateway",
        }
    }

    /// The cargo package, and the program's file name.
    pub const fn package(self) -> &'static str {
        match self {
            Self::Controller => "vdi-controller",
            Self::Gateway => "vdi-gateway",
        }
    }

    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::Controller => "Turns VDISessions into desktops",
            Self::Gateway => "Lets the owner of a desktop in, and nobody else",
        }
    }
}
