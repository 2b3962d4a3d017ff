-- Times are TAI nanoseconds since 1958-01-01. Hashes are hexadecimal digits. One text for SQLite and PostgreSQL.

CREATE TABLE segments (
    id TEXT PRIMARY KEY,
    ring TEXT NOT NULL,
    colour TEXT NOT NULL,
    series BIGINT NOT NULL,
    base_pos BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    end_seq BIGINT NOT NULL,
    records BIGINT NOT NULL,
    lost_records BIGINT NOT NULL,
    file_octets BIGINT NOT NULL,
    content_sha256 TEXT NOT NULL,
    chain TEXT NOT NULL,
    previous_chain TEXT NOT NULL,
    first_rx BIGINT,
    last_rx BIGINT,
    frames BIGINT NOT NULL,
    packets BIGINT NOT NULL,
    payload_octets BIGINT NOT NULL,
    state TEXT NOT NULL,
    state_reason TEXT NOT NULL,
    tier TEXT NOT NULL,
    object_key TEXT,
    object_octets BIGINT,
    object_sha256 TEXT,
    frames_key TEXT,
    frames_octets BIGINT,
    frames_sha256 TEXT,
    packets_key TEXT,
    packets_octets BIGINT,
    packets_sha256 TEXT
);
CREATE INDEX segments_by_time ON segments (first_rx, last_rx);
CREATE INDEX segments_by_ring ON segments (colour, ring, series, first_seq);

-- What each link received of each spacecraft within a segment.
CREATE TABLE presences (
    segment_id TEXT NOT NULL REFERENCES segments (id),
    part BIGINT NOT NULL,
    link BIGINT NOT NULL,
    session BIGINT NOT NULL,
    scid BIGINT NOT NULL, -- -1: header not believed
    by_packets BIGINT NOT NULL,
    first_rx BIGINT NOT NULL,
    last_rx BIGINT NOT NULL,
    units BIGINT NOT NULL,
    bad BIGINT NOT NULL,
    corrected BIGINT NOT NULL,
    idle BIGINT NOT NULL,
    octets BIGINT NOT NULL,
    PRIMARY KEY (segment_id, part)
);
CREATE INDEX presences_by_time ON presences (first_rx, last_rx);
CREATE INDEX presences_by_link ON presences (link, session, first_rx);

-- Stretches of each channel within a segment whose counts follow on.
CREATE TABLE runs (
    segment_id TEXT NOT NULL REFERENCES segments (id),
    ring TEXT NOT NULL,
    colour TEXT NOT NULL,
    series BIGINT NOT NULL,
    link BIGINT NOT NULL,
    session BIGINT NOT NULL,
    tfvn BIGINT NOT NULL,
    scid BIGINT NOT NULL,
    vcid BIGINT NOT NULL,
    expedited BIGINT NOT NULL,
    apid BIGINT NOT NULL, -- -1: the virtual channel's own counter
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    first_rx BIGINT NOT NULL,
    last_rx BIGINT NOT NULL,
    first_count BIGINT NOT NULL,
    last_count BIGINT NOT NULL,
    units BIGINT NOT NULL,
    duplicates BIGINT NOT NULL,
    modulus BIGINT NOT NULL,
    first_flags BIGINT NOT NULL,
    PRIMARY KEY (segment_id, link, session, tfvn, scid, vcid, expedited, apid, first_seq)
);
CREATE INDEX runs_by_channel
    ON runs (colour, ring, link, session, scid, vcid, tfvn, expedited, apid, series, first_seq);
CREATE INDEX runs_by_time ON runs (scid, vcid, apid, first_rx, last_rx);

CREATE TABLE gaps (
    id TEXT PRIMARY KEY,
    ring TEXT NOT NULL,
    colour TEXT NOT NULL,
    series BIGINT NOT NULL,
    link BIGINT NOT NULL,
    session BIGINT NOT NULL,
    tfvn BIGINT NOT NULL,
    scid BIGINT NOT NULL,
    vcid BIGINT NOT NULL,
    expedited BIGINT NOT NULL,
    apid BIGINT NOT NULL,
    from_count BIGINT NOT NULL,
    to_count BIGINT NOT NULL,
    lost BIGINT NOT NULL,
    modulus BIGINT NOT NULL,
    cause TEXT NOT NULL,
    after_seq BIGINT NOT NULL,
    before_seq BIGINT NOT NULL,
    start_rx BIGINT NOT NULL,
    stop_rx BIGINT NOT NULL,
    state TEXT NOT NULL
);
CREATE INDEX gaps_by_channel ON gaps (scid, vcid, apid, start_rx, stop_rx);
CREATE INDEX gaps_by_state ON gaps (state, start_rx);

CREATE TABLE gap_steps (
    gap_id TEXT NOT NULL,
    step BIGINT NOT NULL,
    at BIGINT NOT NULL,
    person TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (gap_id, step)
);

CREATE TABLE holds (
    id TEXT PRIMARY KEY,
    from_rx BIGINT,
    to_rx BIGINT,
    ring TEXT,
    colour TEXT,
    scid BIGINT,
    link BIGINT,
    reason TEXT NOT NULL,
    person TEXT NOT NULL,
    at BIGINT NOT NULL,
    released_at BIGINT,
    released_by TEXT
);

CREATE TABLE deletions (
    id TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    requester TEXT NOT NULL,
    requested_at BIGINT NOT NULL,
    decider TEXT,
    decided_at BIGINT,
    state TEXT NOT NULL,
    -- The database itself refuses a deletion that one person alone decided.
    CHECK (decider IS NULL OR state = 'refused' OR decider <> requester),
    CHECK (state NOT IN ('approved', 'done') OR decider IS NOT NULL)
);

CREATE TABLE deletion_segments (
    deletion_id TEXT NOT NULL REFERENCES deletions (id),
    segment_id TEXT NOT NULL REFERENCES segments (id),
    PRIMARY KEY (deletion_id, segment_id)
);

CREATE TABLE roots (
    day TEXT NOT NULL,
    document TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (day)
);

CREATE TABLE audit (
    number BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    person TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash TEXT NOT NULL
);
