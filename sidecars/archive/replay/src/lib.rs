//! Any slice of the archive played again.
