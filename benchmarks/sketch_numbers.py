"""What counting a number costs, by the shape of its column, beside a sort and a histogram of NumPy; and how heavy the
heaviest cell is. Prints a Markdown table. Processor time of the one thread that counts, best of three.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import numpy as np

from trackside.sketch.numbers import Floats, NumberCounter, Numbers

Shape = Callable[[np.random.Generator, int], Floats]
BATCH = 1 << 16
SHAPES: dict[str, Shape] = {
    "normal": lambda random, n: random.normal(size=n),
    "normal, mean 5, deviation 5": lambda random, n: random.normal(5, 5, n),
    "lognormal": lambda random, n: random.lognormal(size=n),
    "uniform": lambda random, n: random.uniform(size=n),
    "exponential": lambda random, n: random.exponential(size=n),
    "Cauchy": lambda random, n: random.standard_cauchy(n),
    "integers 0 to 20": lambda random, n: random.integers(0, 21, n).astype(np.float64),
    "90 % zeros": lambda random, n: random.exponential(size=n) * (random.uniform(size=n) < 0.1),
    "prices": lambda random, n: np.round(random.lognormal(3, 1, n), 2),
    "times": lambda random, n: 1.7e9 + random.uniform(-1e6, 1e6, n),
    "times, sorted": lambda random, n: np.sort(1.7e9 + random.uniform(-1e6, 1e6, n)),
    "times and zeros": lambda random, n: (1.7e9 + random.uniform(-1e6, 1e6, n)) * (random.uniform(size=n) < 0.9),
    "ids, rising": lambda random, n: np.arange(n, dtype=np.float64),
    "8,000 different values": lambda random, n: random.choice(random.normal(size=8000), n),
    "90 narrow clusters": lambda random, n: random.choice(random.normal(size=90), n) * random.normal(1, 1e-9, n),
}


def counted(values: Floats) -> Numbers:
    counter = NumberCounter()
    for first in range(0, len(values), BATCH):
        counter.add(values[first : first + BATCH])
    return counter.done()


def cost(values: Floats, work: Callable[[Floats], object], rounds: int) -> float:
    """Nanoseconds a value."""
    best = math.inf
    for _ in range(rounds):
        started = time.thread_time()
        work(values)
        best = min(best, time.thread_time() - started)
    return best / len(values) * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=10_000_000)
    n = parser.parse_args().values
    print("| column | counted, ns a value | np.sort | np.histogram, 1,000 bins | cells | heaviest cell |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, shape in SHAPES.items():
        values = shape(np.random.default_rng(0), n)
        found = counted(values)
        print(
            f"| {name} | {cost(values, counted, 3):.1f} | {cost(values, np.sort, 1):.1f} "
            f"| {cost(values, lambda v: np.histogram(v, 1000), 1):.1f} "
            f"| {len(found.keys):,} | {found.counts.max() / n:.3%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
