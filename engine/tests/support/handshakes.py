#!/usr/bin/env python3
"""Makes handshakes.txt: TLS connections of OpenSSL with itself, flight by flight, with a ping and a pong at the end.

usage: handshakes.py > handshakes.txt
"""

import ssl
import subprocess
import tempfile
import warnings

V = ssl.TLSVersion
ALPN = ["h2", "http/1.1"]
# OpenSSL signs with SHA-1 in TLS 1.0 on its lowest level of security only.
LEGACY = "ECDHE-ECDSA-AES128-SHA@SECLEVEL=0"


def contexts(least, most, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256", alpn=None, group=None):
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = f"{folder}/key", f"{folder}/certificate"
        make = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=shop -keyout {key} -out {certificate}"
        subprocess.run(make.split(), check=True, capture_output=True)
        server.load_cert_chain(certificate, key)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    for context in client, server:
        context.set_ciphers(ciphers)
        context.minimum_version, context.maximum_version = least, most
        if alpn:
            context.set_alpn_protocols(alpn)
    if group:
        server.set_ecdh_curve(group)
    return client, server


def connect(name, client, server, session=None, host="shop.example"):
    to_client, of_client, to_server, of_server = (ssl.MemoryBIO() for _ in range(4))
    client = client.wrap_bio(to_client, of_client, server_hostname=host, session=session)
    server = server.wrap_bio(to_server, of_server, server_side=True)
    print("#", name)

    def attempt(work):
        try:
            work()
        except ssl.SSLWantReadError:
            return False
        return True

    def move(who, out, into):
        if data := out.read():
            print(who, data.hex())
            into.write(data)

    done = [False, False]
    while not all(done):
        done[0] = done[0] or attempt(client.do_handshake)
        move("client", of_client, to_server)
        done[1] = done[1] or attempt(server.do_handshake)
        move("server", of_server, to_client)
    client.write(b"ping")
    move("client", of_client, to_server)
    assert server.read(9) == b"ping"
    server.write(b"pong")
    move("server", of_server, to_client)
    assert client.read(9) == b"pong"
    assert client.session_reused == (session is not None)
    return client.session


warnings.simplefilter("ignore")
connect("tls10", *contexts(V.TLSv1, V.TLSv1, LEGACY), host=None)
pair = contexts(V.TLSv1_2, V.TLSv1_2, alpn=ALPN)
connect("tls12-resumed", *pair, connect("tls12", *pair))
pair = contexts(V.TLSv1_2, V.TLSv1_3, alpn=ALPN)
connect("tls13-resumed", *pair, connect("tls13", *pair))
connect("tls13-retry", *contexts(V.TLSv1_3, V.TLSv1_3, group="secp384r1"))
