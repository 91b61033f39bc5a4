"""Measure everything, some 20 minutes on an idle machine, and write it to benchmarks/results/."""

import argparse
import sys

from lottery_lib import notebooks
from lottery_lib.errors import LotteryError

from . import bench


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--device", default="cpu", help="cpu (the default), or cuda")
    device = parser.parse_args().device
    try:
        print(f"wrote {notebooks.shown(bench.write(bench.run(device)))}")
    except LotteryError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
