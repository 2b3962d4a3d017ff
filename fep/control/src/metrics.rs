//! What each metric counts, in a line: the HELP texts of the Prometheus exposition, live and of a daemon that has died.

/// The text of a family, by its name without `fep_` and without its ending (`_total`, `_seconds`); `None` for one that
/// nobody has described.
#[must_use]
pub fn help(family: &str) -> Option<&'static str> {
    let found = HELP.binary_search_by(|(name, _)| (*name).cmp(family)).ok()?;
    Some(HELP[found].1)
}

/// In the order of names.
const HELP: &[(&str, &str)] = &[
    ("antenna_bad", "Frames of an antenna that no code verified"),
    ("antenna_duplicates", "Frames of an antenna that another had delivered before"),
    ("antenna_heard", "Whether an antenna is connected and in lock: 1 or 0"),
    ("antenna_late", "Frames of an antenna whose place had been given up"),
    ("antenna_lost_on_bus", "Records of an antenna's rings that were overwritten before the merge read them"),
    ("antenna_pending", "Frames of an antenna that wait for those before them"),
    ("antenna_received", "Frames of an antenna that the merge received"),
    ("antenna_served", "Frames of an antenna that the merge served"),
    (
        "antenna_waited_for",
        "Whether the merge waits for an antenna: it is heard, or its rings have not been read to the end",
    ),
    ("bad_frames", "Frames published as bad, by reason"),
    ("chain_codewords", "Codewords of turbo and LDPC codes that were decoded by iteration"),
    ("chain_corrected", "Frames in which the channel code corrected symbols"),
    ("chain_dropped_idle", "Idle frames that were not published, because the configuration says so"),
    ("chain_duplicates", "Frames with the count of the frame before"),
    ("chain_gaps", "Places where the counters of virtual channels miss frames"),
    ("chain_gaps_at_least", "Gaps whose loss is the least possible, because it cannot be known exactly"),
    ("chain_good", "Frames in which nothing had to be corrected"),
    ("chain_idle", "Frames of idle data, part of good and corrected"),
    ("chain_iterations", "Iterations that the codewords of turbo and LDPC codes took"),
    ("chain_lost", "Frames that the counters of virtual channels miss"),
    ("chain_packet_bytes", "Octets of the packets published"),
    ("chain_packet_bytes_discarded", "Octets of packets that could not be completed"),
    ("chain_packets", "Packets published"),
    ("chain_packets_idle", "Idle packets, which are not published"),
    ("chain_packets_undeclared", "Packets with an APID that the mission does not name"),
    ("chain_published", "Frames published"),
    ("chain_received", "Frames received: good, corrected and uncorrectable"),
    ("chain_resets", "Times a frame counter jumped backwards"),
    ("chain_symbols_corrected", "Symbols that the channel code corrected"),
    ("chain_unchecked", "Frames that neither a code nor a FECF verified"),
    ("chain_uncorrectable", "Frames that could not be corrected"),
    ("clcw_age_seconds", "Time since the newest CLCW"),
    ("clcw_farm_b_counter", "FARM-B counter of the newest CLCW"),
    ("clcw_lockout", "Lockout flag of the newest CLCW"),
    ("clcw_no_bit_lock", "No-bit-lock flag of the newest CLCW"),
    ("clcw_no_rf_available", "No-RF-available flag of the newest CLCW"),
    ("clcw_report_value", "Next expected frame sequence number, V(R), of the newest CLCW"),
    ("clcw_retransmit", "Retransmit flag of the newest CLCW"),
    ("clcw_wait", "Wait flag of the newest CLCW"),
    ("consumer_credit_percent", "Room left before a ring laps a watched consumer, 0 to 100"),
    ("consumer_evictions", "Times a watched consumer was lapped and evicted"),
    ("consumer_lag_bytes", "Octets that a watched consumer has not read"),
    ("consumer_lag_records", "Records that a watched consumer has not read"),
    ("consumer_lost_records", "Records that a watched consumer lost, as it counts them itself"),
    ("latency", "Time from the socket to the verdict (decoded) and to the ring (published)"),
    ("latency_decoded_max_ns", "Longest time from the socket to the verdict, nanoseconds"),
    ("latency_published_max_ns", "Longest time from the socket to the ring, nanoseconds"),
    ("link_buffers_exhausted", "Times all receive buffers were in use and the kernel had to wait"),
    ("link_bytes", "Octets received from the transport"),
    ("link_chunks", "Chunks received from the transport"),
    ("link_connect_errors", "Attempts to connect that failed for another reason (no route, no device)"),
    ("link_connect_refused", "Attempts to connect that the station refused"),
    ("link_connect_timeouts", "Attempts to connect that took too long"),
    ("link_connections", "Connections established"),
    ("link_datagrams", "Datagrams received"),
    ("link_discarded_bytes", "Octets that arrived for a connection that had been dropped"),
    ("link_disconnects", "Connections that ended, whatever the cause"),
    ("link_disconnects_by_error", "Connections that ended with an error"),
    ("link_disconnects_by_peer", "Connections that the station closed in order"),
    ("link_disconnects_by_protocol", "Connections that ended because their protocol was violated"),
    ("link_disconnects_by_us", "Connections that the link closed"),
    ("link_half_open", "Connections given up because the station did not answer any more"),
    ("link_keepalives_received", "Keep-alives of a protocol that arrived"),
    ("link_keepalives_sent", "Keep-alives of a protocol that were sent"),
    ("link_kernel_drops", "Datagrams that the kernel dropped because the socket buffer was full"),
    ("link_kernel_entries", "System calls of the transport (io_uring_enter)"),
    ("link_pace_late", "Paced turns that came too late; the pace catches up"),
    ("link_protocol_discarded_octets", "Octets that arrived and belong to no unit of the protocol"),
    (
        "link_protocol_faults",
        "Faults of a protocol: what arrived could not be understood, or nothing arrived for too long",
    ),
    ("link_receive_errors", "Errors of receiving that ended no connection"),
    ("link_reconnect_attempts", "Attempts to connect after the first"),
    ("link_refused", "Stations that were refused: a second one, or one that is not allowed"),
    ("link_reopens", "Times a datagram socket or a listener was opened again after it had failed"),
    ("link_repeats", "Times a file was started again"),
    ("link_resets", "Connections that the station reset"),
    ("link_restarts", "Times the link was started again after a failure"),
    ("link_silences", "Times no datagram came for silence_ms"),
    ("link_state", "State of the transport, as a number"),
    ("link_transmit_failed", "Units that were not sent, or not wholly"),
    ("link_transmit_refused", "Units that were refused because there was no room to keep them"),
    ("link_transmitted_bytes", "Octets that the kernel took to be sent"),
    ("link_transmitted_units", "Units that the kernel took wholly"),
    ("link_truncated", "Datagrams that were longer than max_datagram_bytes and delivered cut"),
    ("link_unit_octets", "Octets of the units that a protocol delivered"),
    ("link_units", "Units that a protocol delivered"),
    ("link_up", "Whether the link's thread runs: 1 or 0"),
    ("merge_overflowed", "Frames served before their wait was over, because window_frames was full"),
    ("merge_placed_by_time", "Times an antenna was placed by receive time, for want of a frame in common"),
    ("merge_strangers", "Frames of a link that the spacecraft does not merge"),
    ("merge_unplaced", "Frames whose place contradicts other antennas, served as they came"),
    ("merge_waits_over", "Gaps given up because wait_us was over"),
    ("ocf_clcws", "CLCWs received"),
    ("ocf_others", "Operational control fields that are no CLCW"),
    ("ocf_refused", "Operational control fields that found no room in the page of the newest"),
    ("ring_bytes", "Octets published in a ring"),
    ("ring_records", "Records published in a ring"),
    ("spacecraft_restarts", "Times the merged spacecraft was started again after a failure"),
    ("spacecraft_up", "Whether the thread of the merged spacecraft runs: 1 or 0"),
    ("sync_bits_discarded", "Bits received that belong to no block"),
    ("sync_bits_held", "Bits received that wait for the rest of their block"),
    ("sync_bits_in", "Bits that the synchroniser received"),
    ("sync_bits_shared", "Bits that belong to two blocks, because these overlap"),
    ("sync_blocks", "Blocks that the synchroniser found"),
    ("sync_flywheel_blocks", "Blocks taken at their expected place without a marker"),
    ("sync_inversions", "Changes of polarity"),
    ("sync_lock_acquired", "Times the synchroniser came into lock"),
    ("sync_lock_lost", "Times the synchroniser lost lock"),
    ("sync_marker_bit_errors", "Wrong bits in the markers found"),
    ("sync_slips", "Times a marker was found beside its expected place"),
    ("sync_state", "State of the synchroniser, as a number"),
    ("thread_cpu_ns", "Processor time of a role's thread, nanoseconds"),
    ("thread_events_overflowed", "Events that found no room on their way to the events ring"),
    ("thread_packets_too_long", "Packets longer than packet_max, which were dropped"),
    ("thread_turns", "Turns of a role's thread"),
    ("thread_work_ns", "Time that a role's thread spent on data, nanoseconds"),
    ("vc_duplicates", "Frames of a virtual channel with the count of the frame before"),
    ("vc_frames", "Frames of a virtual channel that decoded"),
    ("vc_gaps", "Places where the counter of a virtual channel misses frames"),
    ("vc_gaps_at_least", "Gaps of a virtual channel whose loss is the least possible"),
    ("vc_lost", "Frames that the counter of a virtual channel misses"),
    ("vc_packet_bytes", "Octets of the packets of a virtual channel"),
    ("vc_packet_bytes_discarded", "Octets of packets of a virtual channel that could not be completed"),
    ("vc_packets", "Packets of a virtual channel"),
    ("vc_packets_undeclared", "Packets of a virtual channel with an APID that the mission does not name"),
    ("vc_pointer_invalid", "Frames of a virtual channel whose first header pointer cannot be"),
    ("vc_resets", "Times the counter of a virtual channel jumped backwards"),
];

#[cfg(test)]
mod tests {
    use fep_downlink::{Counts, VcLedger};
    use fep_net::LinkCounters;

    use super::*;

    // REQ: FEP-ENG-350
    #[test]
    fn every_counter_of_a_link_has_a_text_of_its_own_and_no_text_stands_twice() {
        let of = |prefix: &str, names: &[&str]| {
            names.iter().map(|name| format!("{prefix}_{name}")).collect::<Vec<_>>()
        };
        let families =
            [of("link", LinkCounters::NAMES), of("chain", Counts::NAMES), of("vc", VcLedger::NAMES)];
        for family in families.iter().flatten() {
            assert!(help(family).is_some(), "{family} has no text");
        }
        assert!(HELP.is_sorted_by(|one, next| one.0 < next.0), "looked up by halves");
        let mut texts: Vec<&str> = HELP.iter().map(|(_, text)| *text).collect();
        texts.sort_unstable();
        texts.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
        assert_eq!(help("nosuch"), None);
    }
}
