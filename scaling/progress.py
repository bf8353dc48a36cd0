"""How far a long work is: one bar, shared out among the parts of the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator

Report = Callable[[int, int], None]
UNITS = 1000  # a whole bar


class Bar:
    """A stretch of a bar. Called with the work done and in all of this stretch, it reports units of the whole bar.

    report : called with (units done, UNITS), or None where nobody watches; what it raises ends the work. The units never
    go back. A function one level down takes a part of the bar as its `progress`.
    """

    def __init__(self, report: Report | None) -> None:
        self.report = report
        self.start, self.length = 0.0, 1.0  # shares of the whole
        self.furthest = [0]  # in units, the same list for all parts

    def __call__(self, done: float, total: float) -> None:
        if self.report is not None:
            share = self.start + self.length * (min(done / total, 1.0) if total > 0 else 1.0)
            self.furthest[0] = max(self.furthest[0], int(UNITS * share + 1e-6))
            self.report(self.furthest[0], UNITS)

    def parts(self, *sizes: float) -> list[Bar]:
        """This stretch cut into parts that are to each other as these sizes, none below 0."""
        at, scale, out = self.start, self.length / (sum(sizes) or 1.0), []
        for size in sizes:
            part = Bar(self.report)
            part.start, part.length, part.furthest = at, size * scale, self.furthest
            at += part.length
            out.append(part)
        return out

    def each(self, count: int) -> Iterator[Bar]:
        """Equal parts for the rounds of a loop; each is at its end when the next is asked for."""
        for part in self.parts(*[1.0] * count):
            yield part
            part(1, 1)
