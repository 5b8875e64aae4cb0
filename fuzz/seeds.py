#!/usr/bin/env python3
"""Writes the corpora that fuzzing begins with: what fixtures have, in the form that each target takes.

usage: seeds.py FIXTURE.parquet...
"""

import hashlib
import pathlib
import struct
import sys

import duckdb

CORPUS = pathlib.Path(__file__).parent / "corpus"
# Seeds of one fixture and target, and bytes of one.
COUNT, SIZE = 4, 4000

# Frames as fuzz/src/frames.rs writes them: calls, answers, their trailers, bodies, faults.
CONVERSATIONS = [
    bytes([0, 0, 0, 20, 0x20, 24, 0x10, 1, 65, 21, 0x20, 25, 0, 1, 66, 21, 0x50]),
    bytes([0, 1, 7, 20, 0x00, 21, 0x10, 20, 0x41, 21, 0x11, 20, 0x02, 31, 0, 23, 0x10]),
    bytes([0, 4, 3, 21, 0x10, 20, 0x21, 30, 2, 24, 0x10, 3, 1, 2, 3, 23, 0x30, 7, 1, 0, 4, 0, 0, 0, 8]),
    bytes([0, 0xD5, 0, 20, 0x30, 30, 1, 21, 0x10, 20, 0x91, 15, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0]),
    bytes([0, 0x40, 2, 20, 0x20, 24, 0, 2, 1, 2, 24, 0x10, 1, 1, 21, 0x20, 25, 0, 3, 4, 5, 6, 21, 0x50]),
]

# Header blocks as the `hpack` target takes them (RFC 7541 appendix C): a piece, then lengths and blocks.
BLOCKS = [
    ["828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865"],
    ["828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf"],
    ["3fe10148826402", "4883640effc1c0bf", "203fe11fbe"],
]


def write(target, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(data).hexdigest()[:12]).write_bytes(data)


def event(row, connections):
    """As fuzz/src/tape.rs reads it, with nothing odd about it."""
    kind, connection, action, direction, source, payload, local_port = row
    at = connections.setdefault(connection, len(connections) % 4)
    if kind == "open":
        origin = {"accept": 0, "connect": 1}.get(action, 2)
        return struct.pack("<BB", 4 << 2 | at, origin | (4 if local_port and local_port > 30000 else 0))
    if kind == "close":
        return struct.pack("<BB", 5 << 2 | at, {None: 0, "receive": 1, "send": 2}[direction])
    source = {"openssl": 2, "go": 3}.get(source, 0)
    how = (direction == "send") | source << 1 | (8 if source and connection >> 61 & 1 else 0)
    return struct.pack("<BBH", at, how, len(payload)) + payload


def fixture(path):
    rows = duckdb.sql(
        "select kind, connection, action, direction, source, payload, local_port"
        f" from '{path}' where kind in ('open', 'data', 'close') order by ts_ns, cpu, seq"
    ).fetchall()
    payloads = sorted({bytes(row[5]) for row in rows if row[0] == "data" and row[5]}, key=len)
    short = [payload for payload in payloads if len(payload) <= 1000]
    for payload in short[:: max(1, len(short) // COUNT)]:
        write("heads", payload)
        if b"\r\n\r\n" in payload:
            write("bodies", b"\0\x05" + payload.split(b"\r\n\r\n", 1)[1])
        if b"HTTP/1" not in payload:
            write("frames", bytes([0 if payload.startswith(b"PRI") else 1, 7]) + payload)
    tapes, tape, connections = [], b"\0", {}
    for row in rows:
        if len(tape) > SIZE:
            tapes.append(tape)
            tape, connections = b"\0", {}
        if row[0] != "data" or row[5]:
            tape += event(row, connections)
    tapes.append(tape)
    for tape in [tape for tape in tapes if len(tape) <= 2 * SIZE][:COUNT]:
        write("engine", tape)
        write("redact", tape)


def handshakes():
    """Both sides of TLS connections, as engine/src/tls/fuzz.rs reads them, and as a tape of the server."""
    text = (CORPUS.parent.parent / "engine/tests/support/handshakes.txt").read_text()
    for handshake in text.split("# ")[1:]:
        flights = [line.split(" ") for line in handshake.splitlines()[1:]]
        flights = [(who == "server", bytes.fromhex(data)) for who, data in flights]
        runs = [struct.pack(">BH", sends, len(data)) + data for sends, data in flights]
        write("handshakes", b"\0\x04" + b"".join(runs))
        tape = [struct.pack("<BBH", 0, sends, len(data)) + data for sends, data in flights]
        request = b"GET /a HTTP/1.1\r\n\r\n"
        write("engine", b"\0" + bytes([4 << 2, 0]) + b"".join(tape) + struct.pack("<BBH", 0, 4, len(request)) + request)


def main():
    for path in sys.argv[1:]:
        fixture(path)
    handshakes()
    for conversation in CONVERSATIONS:
        write("http2", conversation)
    for blocks in BLOCKS:
        blocks = [bytes.fromhex(block) for block in blocks]
        # A control byte has twice the length, which may not end in seven.
        write("hpack", b"\x05" + b"".join(bytes([len(block) * 2]) + block for block in blocks))
    settings = bytes([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100])
    request = bytes([0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84])
    write("frames", b"\0\x03PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + request)
    write("frames", b"\1\x03" + settings + request)
    write("bodies", b"\0\x033\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\nA: b\r\n\r\n")


main()
