/// What a setting may be.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// An object with these members and no others, all optional.
    Section(&'static [Member]),
    /// A list of any length.
    List(&'static Shape),
    /// A string, described in words.
    Text(&'static str),
    /// An integer of at least this, described in words.
    Whole(u32, &'static str),
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
}

/// A member of a section.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub name: &'static str,
    /// What it does, in a sentence or two.
    pub about: &'static str,
    pub shape: &'static Shape,
}
