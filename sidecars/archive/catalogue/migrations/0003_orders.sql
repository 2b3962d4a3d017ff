-- Orders (deletions, lifting of holds), the audit trail and jobs are modules of their own: kit_orders, kit_audit, kit_jobs. What
-- an order is about is kept here. The tables deletions, deletion_segments and audit hold what was before; nothing is added.

-- The segments that an order of the kind archive.delete deletes. Its SHA-256 is of their names, each with a line end, sorted.
CREATE TABLE order_segments (
    order_id TEXT NOT NULL,
    segment_id TEXT NOT NULL REFERENCES segments (id),
    PRIMARY KEY (order_id, segment_id)
);

-- The hold that an order of the kind archive.release-hold lifts.
CREATE TABLE order_holds (
    order_id TEXT PRIMARY KEY,
    hold_id TEXT NOT NULL REFERENCES holds (id)
);
