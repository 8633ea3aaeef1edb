"""Counters and timings of the server, as Prometheus text and as numbers for the console.

Does not know what is counted, nor the clock: times are passed in.
"""

from collections import Counter, deque
from collections.abc import Iterable

WINDOW = 512  # timings remembered for percentiles
RATE_SECONDS = 30
PREFIX = "modelserver_"


class Metrics:
    """Written by the engine thread and the event loop, read by the event loop."""

    def __init__(self) -> None:
        """Start from zero."""
        self.counts: Counter[str] = Counter()
        self._first_token: deque[float] = deque(maxlen=WINDOW)
        self._durations: deque[float] = deque(maxlen=WINDOW)
        # tokens by second: those of the rate, the one under way, and one that begins while they are read
        self._drawn: deque[tuple[int, int]] = deque(maxlen=RATE_SECONDS + 2)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        self.counts[name] += amount

    def first_token_after(self, seconds: float) -> None:
        """Remember how long a request waited for its first token."""
        self._first_token.append(seconds)

    def finished_after(self, seconds: float) -> None:
        """Remember how long a request took as a whole."""
        self._durations.append(seconds)

    def drawn(self, tokens: int, *, now: float) -> None:
        """Count tokens of one step."""
        self.counts["tokens_generated"] += tokens
        second = int(now)
        if self._drawn and self._drawn[-1][0] == second:
            self._drawn[-1] = (second, self._drawn[-1][1] + tokens)
        else:
            self._drawn.append((second, tokens))

    def tokens_per_second(self, *, now: float) -> float:
        """Average over the last half minute of whole seconds: the one under way is not over yet."""
        end = int(now)
        recent = (tokens for at, tokens in list(self._drawn) if end - RATE_SECONDS <= at < end)
        return sum(recent) / RATE_SECONDS

    def timings(self) -> dict[str, float | None]:
        """Percentiles in seconds; null before the first request."""
        first, whole = list(self._first_token), list(self._durations)
        return {
            "ttft_p50_s": percentile(first, 0.5),
            "ttft_p95_s": percentile(first, 0.95),
            "request_p50_s": percentile(whole, 0.5),
            "request_p95_s": percentile(whole, 0.95),
        }

    def prometheus(self, gauges: Iterable[tuple[str, float]]) -> str:
        """The text format that Prometheus scrapes."""
        lines: list[str] = []
        for name, value in sorted(self.counts.items()):
            lines += [f"# TYPE {PREFIX}{name}_total counter", f"{PREFIX}{name}_total {value}"]
        timed = [(name, value) for name, value in self.timings().items() if value is not None]
        for name, value in [*gauges, *timed]:
            lines += [f"# TYPE {PREFIX}{name} gauge", f"{PREFIX}{name} {value:g}"]
        return "\n".join(lines) + "\n"


def percentile(values: list[float], share: float) -> float | None:
    """The smallest value that at least `share` of the values do not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(len(ordered) * share * 1000) // 1000) - 1))]
