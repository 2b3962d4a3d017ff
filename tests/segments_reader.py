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


IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8


def blake3_compress(chaining, block, counter, length, flags):
    """The eight words that the BLAKE3 compression function makes of 16 words."""
    v = [*chaining, *IV[:4], counter & 0xFFFFFFFF, counter >> 32, length, flags]
    for _ in range(7):
        for step, (a, b, c, d) in enumerate((
            (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
            (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
        )):
            for word, first, second in ((block[2 * step], 16, 12), (block[2 * step + 1], 8, 7)):
                v[a] = (v[a] + v[b] + word) & 0xFFFFFFFF
                mixed = v[d] ^ v[a]
                v[d] = (mixed >> first | mixed << 32 - first) & 0xFFFFFFFF
                v[c] = (v[c] + v[d]) & 0xFFFFFFFF
                mixed = v[b] ^ v[c]
                v[b] = (mixed >> second | mixed << 32 - second) & 0xFFFFFFFF
        block = [block[index] for index in ORDER]
    return [v[index] ^ v[index + 8] for index in range(8)]


def blake3(data):
    """BLAKE3 of octets, from section 2 of its specification."""
    def chunk(number, octets, last):
        chaining = list(IV)
        count = max(1, (len(octets) + 63) // 64)
        for index in range(count):
            part = octets[64 * index : 64 * index + 64]
            flags = (CHUNK_START if index == 0 else 0) | (CHUNK_END | last if index == count - 1 else 0)
            words = struct.unpack("<16I", part.ljust(64, b"\0"))
            chaining = blake3_compress(chaining, words, number, len(part), flags)
        return chaining

    if len(data) <= 1024:
        return struct.pack("<8I", *chunk(0, data, ROOT))
    nodes = [chunk(at // 1024, data[at : at + 1024], 0) for at in range(0, len(data), 1024)]
    while len(nodes) > 1:
        flags = PARENT | (ROOT if len(nodes) == 2 else 0)
        joined = [blake3_compress(IV, a + b, 0, 64, flags) for a, b in zip(nodes[::2], nodes[1::2])]
        nodes = joined + nodes[len(nodes) & ~1 :]
    return struct.pack("<8I", *nodes[0])


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
        version = u32(foot, 0x08)
        content = blake3(data[:offset]) if version == 2 else hashlib.sha256(data[:offset]).digest()
        told.update(content_hash=content.hex(), previous_chain=foot[0xE0:0x100].hex(), chain=foot[0x100:0x120].hex())
        for holds, what in [
            (foot[:8] == b"FEPFOOT1" and u32(foot, 0x120) == crc32c(foot[:0x120]), "footer"),
            (u64(foot, 0x50) == offset, "content_end"),
            (version in (1, 2) and foot[0xC0:0xE0] == content, "content_hash"),
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
