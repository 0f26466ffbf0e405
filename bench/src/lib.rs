//! Placeholder while the first build of the dependencies runs.
