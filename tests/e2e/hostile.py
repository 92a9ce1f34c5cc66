"""A broker on loopback that refuses every password and says aloud what it was told."""

import socketserver
import struct
import threading

SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 17, 18, 36
AUTHENTICATION_FAILED = 58


def text(value):
    return struct.pack(">h", len(value)) + value


class BrokerConnection(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            while len(size := self.rfile.read(4)) == 4:
                request = self.rfile.read(struct.unpack(">i", size)[0])
                key, version, correlation, client = struct.unpack_from(">hhih", request)
                body = request[10 + max(client, 0):]
                answer = self.answer(key, version, body)
                if answer is None:
                    return
                self.wfile.write(struct.pack(">ii", 4 + len(answer), correlation) + answer)
        except ConnectionError:
            pass

    def answer(self, key, version, body):
        if key == API_VERSIONS:
            known = [(API_VERSIONS, 0, 3), (SASL_HANDSHAKE, 0, 1), (SASL_AUTHENTICATE, 0, 1), (3, 0, 4)]
            if version >= 3:
                entries = b"".join(struct.pack(">hhhb", *entry, 0) for entry in known)
                return struct.pack(">hb", 0, len(known) + 1) + entries + struct.pack(">ib", 0, 0)
            entries = b"".join(struct.pack(">hhh", *entry) for entry in known)
            return struct.pack(">hi", 0, len(known)) + entries + (struct.pack(">i", 0) if version else b"")
        if key == SASL_HANDSHAKE:
            return struct.pack(">hi", 0, 1) + text(b"PLAIN")
        if key == SASL_AUTHENTICATE:
            told = body[4:]
            self.server.told.append(told)
            said = b"nobody is called " + told.replace(b"\0", b" ")
            return struct.pack(">h", AUTHENTICATION_FAILED) + text(said) + struct.pack(">i", 0) + \
                (struct.pack(">q", 0) if version else b"")
        return None


class HostileBroker:
    """`address` is host:port; `told` collects what clients said."""

    def __init__(self):
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), BrokerConnection)
        self.server.daemon_threads = True
        self.told = self.server.told = []
        self.address = "127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
