"""The pipelines of the suites, and the oracle's arguments that mean the same."""

import subprocess

WORKERS = 2
WINDOW_MS, GRACE_MS, DELAY_MS, PRICE, WITHIN_MS = 10_000, 2_000, 1_000, 900, 10_000


def header(name, broker, more="", kafka="", workers=WORKERS):
    """What stands before the sources. `kafka`: further client properties."""
    return f"""\
name: {name}
kafka: {{bootstrap.servers: "{broker.address}"{f", {kafka}" if kafka else ""}}}
workers: {workers}
{more}"""


def pair_streams(out, on_disk=False):
    """Each expensive bid with the higher ones on the same auction in the next ten seconds, or alone."""
    return f"""\
  pairs:
    join:
      left: expensive
      right: {{from: expensive, as: later}}
      kind: left
      match: expensive.auction = later.auction AND later.price > expensive.price
      within: {{after: {WITHIN_MS // 1000}s}}
      state: {{backend: {"rocksdb" if on_disk else "memory"}}}
    steps: [{{map: {{auction: expensive.auction, price: expensive.price, later: later.price}}}}]
    to: {out}-pairs
"""


def auction_streams(bids, out, price="price", on_disk=False):
    """A filter, windows, and what came too late for them. `price`: how the streams read that field."""
    return f"""\
sources:
  bids: {{topic: {bids}, keyed_by: auction, timestamp: dateTime, watermark: {DELAY_MS // 1000}s}}
streams:
  expensive:
    from: bids
    steps: [{{filter: "{price} >= {PRICE}"}}]
    to: {out}-expensive
  totals:
    from: bids
    steps:
      - aggregate:
          by: auction
          window: {{tumbling: {WINDOW_MS // 1000}s, grace: {GRACE_MS // 1000}s}}
          emit: on_close
          state: {{backend: {"rocksdb" if on_disk else "memory"}}}
          fields:
            bids: count(*)
            total: sum({price})
            highest: max({price})
    to: {out}-totals
  late: {{from: totals.late, to: {out}-late}}
"""


def expected(suite, bids, outputs):
    """What the oracle says each of `outputs` must hold: name -> lines."""
    files = {name: suite.folder / f"expected-{name}" for name in outputs}
    subprocess.run([suite.tools / "weir_oracle", f"--price={PRICE}", f"--window-ms={WINDOW_MS}",
                    f"--grace-ms={GRACE_MS}", f"--delay-ms={DELAY_MS}",
                    f"--within-ms={WITHIN_MS}", *bids,
                    *(f"{name}={path}" for name, path in files.items())], check=True)
    return {name: path.read_bytes().split(b"\n")[:-1] for name, path in files.items()}
