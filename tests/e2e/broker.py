"""A real Apache Kafka: the one that scripts/test started, or one of the suite's own by tests/kafka/broker."""

import contextlib
import itertools
import os
import signal
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor

import wire
from suite import REPOSITORY, check, until

SCRIPT = REPOSITORY / "tests/kafka/broker"
CONSOLE_CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
# No text of a test contains it, so that a value may contain anything else.
END_OF_RECORD = b"\x1e\x1d\n"


class Broker:
    def __init__(self, suite, own=False):
        self.suite = suite
        self.address = os.environ.get("WEIR_TEST_KAFKA", "")
        self.own = own or not self.address
        self.environment = dict(os.environ)
        self.reader_numbers = itertools.count(1)
        if self.own:
            self.environment["KAFKA_HOME"] = str(suite.folder / "kafka")
            self.environment["KAFKA_PORT"] = self._run("free-port").strip()
            self.start()
        self.port = int(self.address.rsplit(":", 1)[1])

    def _run(self, *arguments):
        done = subprocess.run([SCRIPT, *arguments], env=self.environment, text=True, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"broker {arguments[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self):
        with open(self.suite.folder / "broker-start.log", "ab") as log:
            # The broker outlives the script and would keep a pipe open.
            done = subprocess.run([SCRIPT, "start"], env=self.environment, stdout=log, stderr=log)
        if done.returncode:
            raise RuntimeError(f"the broker did not start, see {log.name}")
        self.address = f"127.0.0.1:{self.environment['KAFKA_PORT']}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.own:
            self.stop()

    def stop(self):
        self._run("stop")

    def kill(self):
        self._run("kill")

    def create(self, *topics):
        """NAME or NAME:PARTITIONS."""
        sizes = {name: int(partitions or 4) for name, _, partitions in (topic.partition(":") for topic in topics)}
        wire.create_topics(self.address, sizes)

        def known():  # The controller answers a moment before the broker has them.
            try:
                return all(self.end_offsets(name, partitions) for name, partitions in sizes.items())
            except OSError:
                return False
        until(known, 30, f"the broker has {', '.join(sizes)}")

    def delete(self, *topics):
        wire.delete_topics(self.address, topics)

    def tool(self, name, *arguments):
        return self._run("tool", "-Dlog4j2.level=OFF", name, "--bootstrap-server", self.address, *arguments)

    # --- Writing

    def load_command(self, topic, bids, rate=0):
        return [self.suite.tools / "weir_load", f"--bootstrap={self.address}", f"--topic={topic}", f"--rate={rate}",
                *bids]

    def start_load(self, topic, bids, rate):
        return subprocess.Popen(self.load_command(topic, bids, rate), stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    @staticmethod
    def finish_load(loader):
        """What is left of it is written as fast as possible."""
        loader.send_signal(signal.SIGUSR1)
        check(loader.wait(600) == 0, "the load could not be written")

    def load(self, topic, bids, rate=0):
        subprocess.run(self.load_command(topic, bids, rate), check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def write(self, topic, records):
        """`records`: (partition, timestamp, key, value) with bytes or None as key and value."""
        frames = bytearray()
        for partition, timestamp, key, value in records:
            frames += struct.pack("<iq", partition, timestamp)
            for text in (key, value):
                frames += struct.pack("<i", -1) if text is None else struct.pack("<i", len(text)) + text
        subprocess.run([self.suite.tools / "weir_load", f"--bootstrap={self.address}", f"--topic={topic}", "--raw"],
                       input=bytes(frames), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    # --- Reading

    def read(self, topic, committed=True, headers=False):
        """Every record as Kafka's console consumer prints it:
        CreateTime:<ms> TAB Partition:<n> TAB [headers TAB] key TAB value; null is <null>."""
        for quiet_ms in (3_000, 20_000, 120_000):
            lines, position = self._read_until_quiet(topic, committed, headers, quiet_ms)
            # A busy machine can be quiet before the end: the consumer's own position tells.
            if position == self.end_offsets(topic, committed=committed):
                return lines
        raise RuntimeError(f"{topic} could not be read to its end, only to {position}")

    def _read_until_quiet(self, topic, committed, headers, quiet_ms):
        group = f"reader-{next(self.reader_numbers)}-{topic}"
        command = [*self._reader(topic, group, committed, headers), "--timeout-ms", str(quiet_ms)]
        done = subprocess.run(command, env=self.environment, capture_output=True, check=True)
        *lines, rest = done.stdout.split(END_OF_RECORD)
        if rest.strip():
            raise RuntimeError(f"the console consumer ended with {rest[-300:]!r}")
        return lines, {partition: max(offset, 0)
                       for partition, (offset, _) in self.committed(group, topic).items()}

    def _reader(self, topic, group, committed, headers):
        command = [SCRIPT, "tool", "-Dlog4j2.level=OFF", CONSOLE_CONSUMER, "--bootstrap-server", self.address,
                   "--topic", topic, "--group", group, "--from-beginning",
                   "--isolation-level", "read_committed" if committed else "read_uncommitted"]
        for setting in ("print.timestamp=true", "print.partition=true", "print.key=true", "null.literal=<null>",
                        f"print.headers={str(headers).lower()}", f"line.separator={END_OF_RECORD.decode()}"):
            command += ["--property", setting]
        return command

    def read_all(self, **topics):
        """Several topics at once; returns name -> lines."""
        with ThreadPoolExecutor(2) as pool:
            futures = {name: pool.submit(self.read, topic) for name, topic in topics.items()}
            return {name: future.result() for name, future in futures.items()}

    def end_offsets(self, topic, partitions=4, committed=False):
        return until(lambda: wire.end_offsets(self.address, topic, partitions, committed), 30,
                     f"the leaders of {topic} answer")

    def committed(self, group, topic, partitions=4):
        return until(lambda: wire.committed_offsets(self.address, group, topic, partitions), 30,
                     "the group's coordinator answers")

    def lag(self, group, topic, partitions=4):
        """Records of the topic, transaction markers included, that the group has not committed."""
        committed = self.committed(group, topic, partitions)
        return sum(end - max(committed[partition][0], 0)
                   for partition, end in self.end_offsets(topic, partitions).items())

    def open_transactions(self, prefix):
        """Kafka answers the end of a transaction before it has written all of it: that is awaited."""
        states = {}

        def decided():
            nonlocal states
            states = wire.transactions(self.address)  # None while a fresh broker's coordinators load.
            return states is not None and not any(state.startswith("Prepare") for name, state in states.items()
                                                  if name.startswith(prefix))
        until(decided, 30, "Kafka has finished what was ended")
        return [name for name, state in states.items() if name.startswith(prefix) and state == "Ongoing"]

    @contextlib.contextmanager
    def follow(self, topic):
        """A console consumer that reads committed records while they are written. Gives a function that waits until
        it has seen the end and returns the lines of all the time."""
        group, file = f"follower-{topic}", self.suite.folder / f"followed-{topic}"
        with open(file, "wb") as out:
            process = subprocess.Popen(self._reader(topic, group, True, False), env=self.environment,
                                       stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL)

        def lines():
            end = self.end_offsets(topic, committed=True)
            until(lambda: {partition: max(offset, 0) for partition, (offset, _) in
                           self.committed(group, topic).items()} == end, 120, f"the reader beside is at {end}")
            process.terminate()
            process.wait()
            return file.read_bytes().split(END_OF_RECORD)[:-1]
        try:
            yield lines
        finally:
            process.kill()
            process.wait()
