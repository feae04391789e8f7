//! Build and tool set-up.
fn main() {}
