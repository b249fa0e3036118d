# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proven bound on the GPU share that a fleet can hold: a linear programme over what fills one GPU, by class of node."""
from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from ansible_collections.tandem.hybrid.plugins.module_utils.placement.errors import PlacementError

if TYPE_CHECKING:
    from numpy import ndarray

MOST_PATTERNS = 100_000
TOLERANCE = 1e-7


def patterns(sizes: list[int]) -> list[tuple[int, ...]] | None:
    """Return every maximal way to fill one GPU of 1000 thousandths with shares of these sizes (largest first); None if there are too many."""
    found: list[tuple[int, ...]] = []
    stack: list[tuple[tuple[int, ...], int]] = [((), 1000)]
    while stack:
        head, room = stack.pop()
        if len(head) == len(sizes):
            if all(room < size for size in sizes):
                found.append(head)
            if len(found) > MOST_PATTERNS:
                return None
            continue
        stack += [((*head, count), room - count * sizes[len(head)]) for count in range(room // sizes[len(head)] + 1)]
    return found


def share_bound(nodes: ndarray, types: ndarray, demand: ndarray) -> int:
    """Return an upper bound on the thousandths of GPUs in use, for any packing; arrays as in batch_kernel. Raises PlacementError where
    OR-Tools is not installed."""
    return math.floor(1000 * _Relaxed(nodes, types, demand).best() * (1 + 1e-6) + 1e-6)


def left_bound(nodes: ndarray, types: ndarray, demand: ndarray, share: int = 0) -> int:
    """Return a lower bound on the workloads left out, for any packing with at least `share` thousandths of GPUs in use. Raises
    PlacementError where OR-Tools is not installed, or where no packing has that share."""
    relaxed = _Relaxed(nodes, types, demand)
    relaxed.best()
    relaxed.count_from(share * (1 - 1e-9))
    return max(0, math.ceil(int(demand.sum()) - relaxed.best() * (1 + 1e-6) - 1e-6))


def _rounded(size, grid):
    return max(1, int(size) // grid * grid)


def _shared(types):
    return (types[:, 0] == 1) & (types[:, 1] < 1000)


class _Relaxed:
    """Column generation over patterns of one GPU (Gilmore and Gomory 1961) with CPU and memory by class of node.

    The linear programme over the patterns found so far gives `prices` of each share size and `rents` of a GPU, by class of node.
    """

    def __init__(self, nodes, types, demand):
        import numpy
        try:
            from ortools.linear_solver import pywraplp
        except ImportError:
            raise PlacementError(f"a bound on GPU share needs OR-Tools: install ortools for {sys.executable}") from None
        shared, grid = _shared(types), 1
        while (every := patterns(sizes := sorted({_rounded(size, grid) for size in types[shared, 1]}, reverse=True))) is None:
            grid = 25 if grid == 1 else grid * 2  # Rounded down, the shares only get easier to place: the bound holds.
        self.table = numpy.array(every).reshape(len(every), len(sizes))
        self.classes, members = numpy.unique(nodes, axis=0, return_counts=True)
        self.scale = numpy.maximum(1, self.classes[:, 2:].max(axis=0))
        self.shared = 1 + len(self.scale)
        self.solver = pywraplp.Solver.CreateSolver("GLOP")
        self.solver.Objective().SetMaximization()
        self.rows = [[self._row(bound) for bound in (one[0] * count, *(one[2:] * count / self.scale), *[0] * len(sizes))]
                     for one, count in zip(self.classes, members, strict=True)]
        self.columns = []
        for kind in range(len(types)):
            wanted, share = self._row(demand[kind]), types[kind, 0] * types[kind, 1] / 1000
            for one, rows in zip(self.classes, self.rows, strict=True):
                if not (types[kind, 2] >> one[1]) & 1 or types[kind, 0] > one[0] or any(types[kind, 3:] > one[2:]):
                    continue
                cells = [(wanted, 1), *zip(rows[1:self.shared], types[kind, 3:] / self.scale, strict=True)]
                if shared[kind]:
                    cells.append((rows[self.shared + sizes.index(_rounded(types[kind, 1], grid))], 1))
                elif types[kind, 0]:
                    cells.append((rows[0], types[kind, 0]))
                self.columns.append((self._column(share, cells), float(share)))

    def _row(self, bound):
        return self.solver.Constraint(-self.solver.infinity(), float(bound))

    def _column(self, worth, cells):
        column = self.solver.NumVar(0.0, self.solver.infinity(), "")
        self.solver.Objective().SetCoefficient(column, float(worth))
        for row, value in cells:
            row.SetCoefficient(column, float(value))
        return column

    def count_from(self, share):
        """From now on count workloads, in packings with that many thousandths of GPUs in use."""
        enough = self.solver.Constraint(share / 1000, self.solver.infinity())
        for column, worth in self.columns:
            enough.SetCoefficient(column, worth)
            self.solver.Objective().SetCoefficient(column, 1.0)

    def _solved_plainly(self):
        """Whether it is solved without preprocessing, which now and then makes GLOP give up (ABNORMAL) on a programme that has grown."""
        self.solver.SetSolverSpecificParametersAsString("use_preprocessing: false")
        return self.solver.Solve() == self.solver.OPTIMAL

    def best(self):
        """Return the best objective once no further pattern improves it."""
        import numpy
        while True:
            if self.solver.Solve() != self.solver.OPTIMAL and not self._solved_plainly():
                raise PlacementError("the linear programme that bounds GPU share has no solution")
            duals = numpy.array([[row.dual_value() for row in rows] for rows in self.rows])
            gain = self.table @ duals[:, self.shared:].T - duals[:, 0]
            best = gain.argmax(axis=0) if self.table.shape[1] else ()
            fresh = [(number, self.table[row]) for number, row in enumerate(best) if gain[row, number] > TOLERANCE]
            if not fresh:
                return self.solver.Objective().Value()
            for number, pattern in fresh:
                rows = self.rows[number]
                self._column(0, [(rows[0], 1), *((row, -count) for row, count in zip(rows[self.shared:], pattern, strict=True) if count)])
