#!/usr/bin/env python3
"""Writes the corpora that fuzzing begins with: the payloads of the fixtures, each in the form that a target takes.

usage: seeds.py FIXTURE.parquet... (needs DuckDB; `just fuzz-seeds` has it)
"""

import hashlib
import pathlib
import struct
import sys

import duckdb

CORPUS = pathlib.Path(__file__).parent / "corpus"
# Of one kind of seed, as many of one fixture, of at most so many bytes.
COUNT, SIZE = 3, 3000


def write(target, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(data).hexdigest()[:12]).write_bytes(data)


def event(connection, direction, source, session, payload):
    """As fuzz/src/tape.rs reads it: an event of a connection, its bytes, nothing odd about them."""
    how = (direction == "send") | {"socket": 0, "openssl": 2, "go": 3}[source] << 1 | session << 3
    return struct.pack("<BBH", connection & 3, how, len(payload)) + payload


def main():
    for path in sys.argv[1:]:
        rows = duckdb.sql(
            "select conn_id, direction, coalesce(source, 'socket'), payload from read_parquet(?)"
            " where kind = 'data' and length(payload) > 0 order by ts_ns, cpu, seq",
            params=[path],
        ).fetchall()
        print(path, len(rows))


main()
