//! Frames and packets to other systems.
