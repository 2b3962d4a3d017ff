//! The simulated stations that tests listen to.

use fep_sim::{
    ChannelSpec, DEFAULT_SIMULATION, DownlinkSpec, Simulation, SourceSpec, StationSpec, TransportSpec,
    Unconnected,
};

/// A station of the built-in set, listening on a port that the system chooses; everything else may be changed.
///
/// # Panics
/// If the built-in set has no such station.
#[must_use]
pub fn built_in(name: &str, rate_bps: Option<u64>, unconnected: Unconnected) -> StationSpec {
    let simulation = Simulation::parse(DEFAULT_SIMULATION, "built-in").expect("the built-in set is valid");
    let mut spec = simulation.station.into_iter().find(|spec| spec.name == name).expect("a built-in station");
    spec.transport = TransportSpec::TcpServer { bind: "127.0.0.1:0".parse().expect("an address") };
    spec.rate_bps = rate_bps;
    spec.unconnected = unconnected;
    spec
}

/// [`built_in`] cso-2, which most tests listen to.
///
/// # Panics
/// As [`built_in`].
#[must_use]
pub fn cso_2(rate_bps: Option<u64>, unconnected: Unconnected) -> StationSpec {
    built_in("cso-2", rate_bps, unconnected)
}

/// What a station's spacecraft sends, to be looked at or changed.
///
/// # Panics
/// If it plays a recording.
pub fn downlink(spec: &mut StationSpec) -> &mut DownlinkSpec {
    let SourceSpec::Spacecraft(downlink) = &mut spec.source else { panic!("{} is no spacecraft", spec.name) };
    downlink
}

/// A channel that does everything that can be done to a stream, and lets most frames pass.
#[must_use]
pub fn every_fault() -> ChannelSpec {
    ChannelSpec {
        bit_error_rate: 2e-5,
        burst_probability: 0.01,
        burst_symbols: 160,
        slip_probability: 2e-4,
        slip_bits: 8,
        inversion_probability: 1e-4,
        drop_out_probability: 5e-4,
        drop_out_cadus: 6,
        duplicate_probability: 2e-4,
        ..ChannelSpec::default()
    }
}
