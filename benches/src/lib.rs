//! The benchmark harness: a case measures ours and, where one installs, a peer, in the same run.
//!
//! Figures are printed, never asserted. Cases are named `area/what/variant`, e.g. `rs/223/i5/errors16`.

pub mod cases;
pub mod flat;
pub mod peers;
pub mod processes;
pub mod timing;

/// One benchmark: what it is called and how to run it.
pub struct Case {
    /// Path-like name, e.g. `ring/1115/1to1`.
    pub name: String,
    /// Unit of both figures; larger is better unless it is a time.
    pub unit: &'static str,
    /// Who we are measured beside; empty where no peer installs.
    pub peer_name: &'static str,
    /// Runs the case within about `budget_s` seconds.
    pub run: Box<dyn FnOnce(f64) -> Measured>,
}

/// What one case measured.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Our figure.
    pub ours: f64,
    /// The peer's figure, absent with the reason in `note` when it could not run.
    pub peer: Option<f64>,
    /// Facts a reader of the figure needs (percentiles, losses, why the peer is missing).
    pub note: String,
}

impl Measured {
    /// How many times the peer we are: ours / peer for rates.
    pub fn ratio(&self) -> Option<f64> {
        self.peer.filter(|peer| *peer > 0.0).map(|peer| self.ours / peer)
    }
}
