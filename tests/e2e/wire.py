"""Questions and orders to a single broker in Kafka's own protocol, because a JVM start per question is too slow to poll
with: ListOffsets v2, OffsetFetch v5, CreateTopics v4, DeleteTopics v3, ListTransactions v0
(https://kafka.apache.org/protocol). Everything is big-endian.
"""

import socket
import struct

LIST_OFFSETS, OFFSET_FETCH, CREATE_TOPICS, DELETE_TOPICS, LIST_TRANSACTIONS = 2, 9, 19, 20, 66
ADMIN_TIMEOUT_MS = 30_000
NO_TAGS = b"\0"
LATEST = -1
COORDINATOR_ERRORS = (14, 15, 16)  # Loading, not available, elsewhere.
LEADER_ERRORS = (5, 6)  # Not available, elsewhere: a broker that has just started says so.


def _text(value):
    data = value.encode()
    return struct.pack(">h", len(data)) + data


def _ask(address, api, version, body, timeout_s=10):
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=timeout_s) as connection:
        message = struct.pack(">hhi", api, version, 1) + _text("suite") + body
        connection.sendall(struct.pack(">i", len(message)) + message)
        stream = connection.makefile("rb")
        size, = struct.unpack(">i", stream.read(4))
        return Reader(stream.read(size)[4:])


class Reader:
    def __init__(self, data):
        self.data, self.place = data, 0

    def take(self, form):
        values = struct.unpack_from(">" + form, self.data, self.place)
        self.place += struct.calcsize(">" + form)
        return values[0] if len(values) == 1 else values

    def text(self):
        size = self.take("h")
        if size < 0:
            return None
        self.place += size
        return self.data[self.place - size:self.place].decode()


    def compact_size(self):
        """Of a text or a list: a varint, one more than the size."""
        size = shift = 0
        while True:
            byte = self.take("B")
            size |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return size - 1

    def compact_text(self):
        size = self.compact_size()
        self.place += size
        return self.data[self.place - size:self.place].decode()


def create_topics(address, topics):
    """`topics`: name -> partitions; they keep everything."""
    body = struct.pack(">i", len(topics))
    for name, partitions in topics.items():
        body += _text(name) + struct.pack(">ihi", partitions, 1, 0)
        body += struct.pack(">i", 1) + _text("retention.ms") + _text("-1")
    answer = _ask(address, CREATE_TOPICS, 4, body + struct.pack(">ib", ADMIN_TIMEOUT_MS, 0), ADMIN_TIMEOUT_MS / 1000)
    answer.take("i")
    for _ in range(answer.take("i")):
        name, error, message = answer.text(), answer.take("h"), answer.text()
        if error:
            raise OSError(f"CreateTopics of {name}: error {error} {message}")


def delete_topics(address, topics):
    body = struct.pack(">i", len(topics)) + b"".join(_text(name) for name in topics)
    answer = _ask(address, DELETE_TOPICS, 3, body + struct.pack(">i", ADMIN_TIMEOUT_MS), ADMIN_TIMEOUT_MS / 1000)
    answer.take("i")
    for _ in range(answer.take("i")):
        name, error = answer.text(), answer.take("h")
        if error:
            raise OSError(f"DeleteTopics of {name}: error {error}")


def transactions(address):
    """State by transactional id; None while a coordinator is not ready to answer."""
    no_filters = b"\1\1"  # Neither states nor producers.
    answer = _ask(address, LIST_TRANSACTIONS, 0, NO_TAGS + no_filters + NO_TAGS)
    answer.take("B")  # The header's tags.
    _, error = answer.take("ih")
    if error in COORDINATOR_ERRORS:
        return None
    if error:
        raise OSError(f"ListTransactions: error {error}")
    for _ in range(answer.compact_size()):
        answer.compact_text()
    states = {}
    for _ in range(answer.compact_size()):
        name = answer.compact_text()
        answer.take("q")
        states[name] = answer.compact_text()
        answer.take("B")
    return states


def end_offsets(address, topic, partitions, committed):
    """By partition: the high watermark, or with `committed` the last stable offset. None while a leader is not
    ready to answer."""
    body = struct.pack(">ib", -1, 1 if committed else 0)
    body += struct.pack(">i", 1) + _text(topic) + struct.pack(">i", partitions)
    for partition in range(partitions):
        body += struct.pack(">iq", partition, LATEST)
    answer = _ask(address, LIST_OFFSETS, 2, body)
    answer.take("i")
    result = {}
    for _ in range(answer.take("i")):
        answer.text()
        for _ in range(answer.take("i")):
            partition, error, _, offset = answer.take("ihqq")
            if error in LEADER_ERRORS:
                return None
            if error:
                raise OSError(f"ListOffsets of {topic}/{partition}: error {error}")
            result[partition] = offset
    return result


def committed_offsets(address, group, topic, partitions):
    """By partition: (offset, metadata); the offset is -1 where nothing was committed. None while the group's
    coordinator is not ready to answer."""
    body = _text(group) + struct.pack(">i", 1) + _text(topic) + struct.pack(">i", partitions)
    for partition in range(partitions):
        body += struct.pack(">i", partition)
    answer = _ask(address, OFFSET_FETCH, 5, body)
    answer.take("i")
    result = {}
    for _ in range(answer.take("i")):
        answer.text()
        for _ in range(answer.take("i")):
            partition, offset, _ = answer.take("iqi")
            metadata = answer.text()
            error = answer.take("h")
            if error:
                raise OSError(f"OffsetFetch of {group}: error {error}")
            result[partition] = (offset, metadata)
    error = answer.take("h")
    if error in COORDINATOR_ERRORS:
        return None
    if error:
        raise OSError(f"OffsetFetch of {group}: error {error}")
    return result
