"""Command line: `amazon-sandbox`, in a clone `python -m sandbox`, serves the sandbox until it receives SIGINT or SIGTERM."""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

from sandbox import NOT_IMITATED
from sandbox.server.server import Sandbox
from sandbox.world.world import DEFAULT_MERCHANT


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the sandbox as the command line says and return the exit code.

    `arguments` default to those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="amazon-sandbox",
        description="A stand-in for Login with Amazon and the Selling Partner API, until Ctrl-C.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="IPv4 address to listen on; 0.0.0.0 = all interfaces")
    parser.add_argument("--port", type=int, default=8765, help="port to listen on; 0 = any free port")
    parser.add_argument(
        "--listings", type=int, default=5000, help="number of SKUs the default merchant lists per marketplace"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="random seed for the merchant's stock and for how orders ship"
    )
    parser.add_argument("--speed", type=float, default=1.0, help="simulated seconds per real second")
    parser.add_argument(
        "--processing-seconds", type=float, default=20.0, help="simulated seconds until a report or feed is done"
    )
    parser.add_argument(
        "--lenient", action="store_true", help="accept any user agent, and ignore query parameters that do not exist"
    )
    options = parser.parse_args(arguments)
    if not 0 <= options.port < 65536:
        parser.error("--port is a number from 0 to 65535; 0 takes a free one")
    if options.listings < 0:
        parser.error("--listings cannot be less than 0")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        sandbox = Sandbox(
            listings=options.listings,
            seed=options.seed,
            speed=options.speed,
            processing_seconds=options.processing_seconds,
            port=options.port,
            host=options.host,
            lenient=options.lenient,
        )
    except (OSError, ValueError) as error:
        sys.stderr.write(f"The sandbox cannot start on {options.host}:{options.port}: {error}\n")
        return 1
    with sandbox:
        lines = [
            f"Sandbox Amazon listens on {sandbox.url}",
            f"  token URL      {sandbox.token_url}",
            f"  client id      {DEFAULT_MERCHANT.client_id}",
            f"  client secret  {DEFAULT_MERCHANT.client_secret}",
            f"  refresh token  {DEFAULT_MERCHANT.refresh_token}",
            f"  seller id      {DEFAULT_MERCHANT.seller_id}",
            f"  marketplaces   {', '.join(DEFAULT_MERCHANT.marketplace_ids)}",
            f"  control API    {sandbox.url}/control",
            "Ctrl-C stops it. Differences from Amazon:",
            *(f"  - {line}" for line in NOT_IMITATED),
        ]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
