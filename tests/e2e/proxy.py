"""A TCP proxy that knows Kafka's frames: it stands where the broker's proxied listener says that the broker lives,
and does to single requests and answers what a network, or a broker, may do to them.

A test gives it a `judge`, called in the proxy's own thread for every frame, which answers with what happens to it:

    None            passes on
    DROP            is swallowed; the client waits
    CUT             is swallowed, and the connection ends on both sides
    bytes           passes on in this form
    Answer(bytes)   does not reach the broker; the client gets this answer
    a coroutine     is awaited, and its result is the verdict; what follows in the same direction waits, as in TCP

Protocol: https://kafka.apache.org/protocol. Only what the header always has is read, and the bodies of what the
tests ask for.
"""

import asyncio
import inspect
import struct
import threading
import time
from collections import Counter

PRODUCE, FETCH, INIT_PRODUCER_ID, ADD_PARTITIONS, ADD_OFFSETS, END_TXN, TXN_OFFSETS = 0, 1, 22, 24, 25, 26, 28
DROP, CUT = object(), object()


class Answer:
    def __init__(self, data):
        self.data = data


class Frame:
    """A request, or an answer together with its `request`. `data` starts at the header, without the length."""

    def __init__(self, data, request=None):
        self.data, self.request = data, request
        if request is None:
            self.api, self.version, self.correlation = struct.unpack_from(">hhi", data)
        else:
            self.api, self.version, self.correlation = request.api, request.version, request.correlation

    def body(self):
        """Of a request with a header of version 1."""
        size, = struct.unpack_from(">h", self.data, 8)
        return self.data[10 + max(size, 0):]

    def transactional_id(self):
        """Of Produce, InitProducerId 0-1, AddPartitions 0-2, AddOffsets 0-2 and EndTxn 0-2, where it is the first field."""
        size, = struct.unpack_from(">h", self.body())
        return self.body()[2:2 + size].decode() if size >= 0 else None

    def commits(self):
        """Of EndTxn 0-2: commit, not abort. Behind the transactional id, a producer id and its epoch."""
        size, = struct.unpack_from(">h", self.body())
        return self.body()[2 + size + 10] != 0

    def refusal(self, error):
        """The answer to EndTxn 0-2 with that error code."""
        return struct.pack(">iih", self.correlation, 0, error)


def error_of_end(answer):
    """The error code in an answer to EndTxn 0-2."""
    return struct.unpack_from(">h", answer, 8)[0]


async def read_frame(reader):
    size, = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(size)


def write_frame(writer, data):
    writer.write(struct.pack(">i", len(data)) + data)


class Proxy:
    def __init__(self, broker, judge=lambda frame: None):
        self.broker, self.judge = broker, judge
        self.address = f"127.0.0.1:{broker.port + 3}"
        self.requests = Counter()  # By ApiKey; what was judged, whether or not it passed.
        self.ends = []  # time.monotonic() of every EndTxn request.
        self.failure = None  # Of a judge.
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        self.server = self.call(asyncio.start_server(self._serve, "127.0.0.1", self.broker.port + 3))
        return self

    def __exit__(self, *_):
        async def end():
            self.server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.call(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        if self.failure:
            raise self.failure

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    async def deliver(self, request):
        """Brings a request to the broker by a connection of its own, as a network does that had kept it; returns
        the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.broker.port + 2)
        write_frame(writer, request.data)
        answer = await read_frame(reader)
        writer.close()
        return answer

    async def _serve(self, client_reader, client_writer):
        writers = [client_writer]
        try:
            broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self.broker.port + 2)
            writers.append(broker_writer)
            waiting = {}
            directions = [asyncio.ensure_future(self._requests(client_reader, client_writer, broker_writer, waiting)),
                          asyncio.ensure_future(self._answers(broker_reader, client_writer, waiting))]
            try:
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for direction in directions:
                    direction.cancel()
                await asyncio.gather(*directions, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # Who comes while the broker is away finds a closed connection.
        finally:
            for writer in writers:
                writer.close()

    async def _verdict(self, frame):
        try:
            verdict = self.judge(frame)
            return await verdict if inspect.iscoroutine(verdict) else verdict
        except Exception as error:
            self.failure = error
            raise

    async def _requests(self, reader, client, broker, waiting):
        while True:
            try:
                frame = Frame(await read_frame(reader))
            except (OSError, asyncio.IncompleteReadError):
                return
            self.requests[frame.api] += 1
            if frame.api == END_TXN:
                self.ends.append(time.monotonic())
            verdict = await self._verdict(frame)
            if verdict is CUT:
                return
            if verdict is DROP:
                continue
            if isinstance(verdict, Answer):
                write_frame(client, verdict.data)
                await client.drain()
                continue
            waiting[frame.correlation] = frame
            write_frame(broker, frame.data if verdict is None else verdict)
            await broker.drain()

    async def _answers(self, reader, client, waiting):
        while True:
            try:
                data = await read_frame(reader)
            except (OSError, asyncio.IncompleteReadError):
                return
            # Produce without acknowledgement would have no answer; nobody here asks for that.
            frame = Frame(data, waiting.pop(struct.unpack_from(">i", data)[0]))
            verdict = await self._verdict(frame)
            if verdict is CUT:
                return
            if verdict is DROP:
                continue
            write_frame(client, frame.data if verdict is None else verdict)
            await client.drain()
