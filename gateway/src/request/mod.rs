//! What a request says about itself: its host, its credentials, and the page that made it.

mod authority;
mod bearer;
pub mod cookie;
pub mod origin;
mod public_url;

pub use authority::authority;
pub use bearer::bearer_token;
pub use public_url::{PublicUrl, Scheme, Site};
