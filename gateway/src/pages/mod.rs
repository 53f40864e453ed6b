//! The gateway's own pages, and the other short answers that it gives itself.

mod assets;
mod policy;
mod respond;
mod templates;
mod view;

pub use respond::{asset, html, json, page, redirect, text};
pub use templates::{Continue, Enter, Frame, Link, Message, Portal, Row, SessionList, Waiting};
pub use view::View;
