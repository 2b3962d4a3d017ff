-- The longest span of reception of a segment is found at once, and with it, in the order of first_rx, every segment that
-- reaches into a span of time.
CREATE INDEX segments_by_length ON segments ((last_rx / 2 - first_rx / 2));
