#!/usr/bin/env python3
"""Reads segments of an archive and checks them: written from docs/segments.md alone, with the standard library alone.

    segments_reader.py FILE...      one JSON line a segment: counts, hashes, and what is wrong

It shares nothing with the programs that write segments; that is its purpose.
"""
import hashlib
import json
import struct
import sys

PAGE = 4096


def crc32c_table():
    table = []
    for octet in range(256):
        for _ in range(8):
            octet = (octet >> 1) ^ (0x82F63B78 if octet & 1 else 0)
        table.append(octet)
    return table


TABLE = crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for octet in data:
        crc = TABLE[(crc ^ octet) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def u32(data, offset):
    return struct.unpack_from("<I", data, offset)[0]


def u64(data, offset):
    return struct.unpack_from("<Q", data, offset)[0]


def padded(length):
    return -(-length // PAGE) * PAGE


def records(content, seq, pos, payload):
    """(seq, payload octets) of every record of a block's content; raises ValueError where it does not hold together."""
    at = 0
    while at < len(content):
        length, kind = u32(content, at + 0x10), struct.unpack_from("<H", content, at + 0x14)[0]
        taken = (64 + length + 63) // 64 * 64
        if u64(content, at) != seq or u64(content, at + 0x08) != pos + at or at + taken > len(content):
            raise ValueError(f"no record header at {at}")
        if kind != 0xFFFF:
            if u64(content, at + 0x38) != payload:
                raise ValueError(f"payload_before of record {seq}")
            yield seq, content[at + 64 : at + 64 + length]
            seq, payload = seq + 1, payload + length
        at += taken


def read_segment(data):
    """What a segment holds."""
    if data[:8] != b"FEPSEGM1" or u32(data, 0x08) != 1 or u32(data, 0xA0) != crc32c(data[:0xA0]):
        raise ValueError("no segment of format 1")
    ident = u64(data, 0x10)
    told = {
        "stream": ("red/" if u32(data, 0x0C) else "black/") + data[0x60:0x80].rstrip(b"\0").decode("ascii"),
        "name": f"{u64(data, 0x20):016x}-{u64(data, 0x30):016x}",
        "records": 0, "octets": 0, "lost_records": 0, "problems": [],
    }
    frames = hashlib.sha256()
    offset, seq = PAGE, u64(data, 0x28)
    told["first_seq"] = seq
    while offset < len(data):
        head = data[offset : offset + 128]
        whole = (head[:8] == b"FEPBLOK1" and u32(head, 0x7C) == crc32c(head[:0x7C])
                 and u64(head, 0x10) == ident and u64(head, 0x18) == offset)
        if not whole:
            break
        if u64(head, 0x20) != seq:
            told["problems"].append(f"records {seq} up to {u64(head, 0x20)} are missing")
        content = data[offset + 128 : offset + 128 + u32(head, 0x68)]
        begin_seq, begin_pos, begin_payload, seq, _, _ = struct.unpack_from("<6Q", head, 0x20)
        if u32(head, 0x08) == 2:
            told["lost_records"] += seq - begin_seq
        elif crc32c(content) != u32(head, 0x6C):
            told["problems"].append(f"block at {offset} is damaged")
        else:
            for number, payload in records(content, begin_seq, begin_pos, begin_payload):
                told["records"] += 1
                told["octets"] += len(payload)
                frames.update(struct.pack("<QI", number, len(payload)) + payload)
        offset += padded(128 + len(content))
    told.update(end_seq=seq, payload_sha256=frames.hexdigest(), sealed=data[offset : offset + 8] == b"FEPTABL1")
    if told["sealed"]:
        foot = data[-PAGE:]
        sha256 = hashlib.sha256(data[:offset]).digest()
        told.update(content_sha256=sha256.hex(), previous_chain=foot[0xE0:0x100].hex(), chain=foot[0x100:0x120].hex())
        for holds, what in [
            (foot[:8] == b"FEPFOOT1" and u32(foot, 0x120) == crc32c(foot[:0x120]), "footer"),
            (u64(foot, 0x50) == offset, "content_end"),
            (foot[0xC0:0xE0] == sha256, "content_sha256"),
            (foot[0x100:0x120] == hashlib.sha256(foot[:0x100]).digest(), "chain"),
            (u64(foot, 0x60) == told["records"] and u64(foot, 0x68) == told["octets"], "records or octets"),
            (u64(foot, 0x38) == seq and u64(foot, 0x70) == told["lost_records"], "end_seq or lost_records"),
        ]:
            if not holds:
                told["problems"].append(f"{what} of the footer does not hold")
    return told


if __name__ == "__main__":
    for path in sys.argv[1:]:
        with open(path, "rb") as file:
            print(json.dumps(read_segment(file.read())))
