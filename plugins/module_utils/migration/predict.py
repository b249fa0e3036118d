# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a cutover will take, from what the rounds so far have shown."""
from __future__ import annotations

from dataclasses import dataclass


EASE_SECONDS = 6.0  # a round's overhead up to which a cluster counts as at ease; 2.5 to 5.7 s were measured on two nodes with two cores


@dataclass(frozen=True)
class Round:
    """One copy round: bytes read, seconds of copying, seconds in all, and seconds since the checkpoint before (0 for the first)."""

    bytes: int
    copy_seconds: float
    total_seconds: float
    interval_seconds: float


@dataclass(frozen=True)
class Timing:
    """The parts of a downtime that do not depend on the data, in seconds; earlier VMs of the journal refine them.

    `final_seconds` is what the last copy takes beyond copying and comparing, `start_seconds` passes from the start on the cluster to the
    guest's first answer, `convert_seconds` is what virt-v2v takes (0: no conversion). They are those of a cluster at ease: `slowness` stretches
    them where a VM's own rounds just before were slow.
    """

    stop_seconds: float = 5.0
    final_seconds: float = 2.5
    verify_bytes_per_second: float = 600e6
    start_seconds: float = 16.0
    convert_seconds: float = 0.0


@dataclass(frozen=True)
class Prediction:
    """A predicted downtime taken apart, in seconds; `never` when no further round can bring it within the budget."""

    seconds: float
    stop_seconds: float
    delta_seconds: float
    verify_seconds: float
    start_seconds: float
    convert_seconds: float
    dirty_bytes_per_second: float
    bytes_per_second: float
    fits: bool
    never: bool
    sentence: str


def throughput(rounds: tuple[Round, ...]) -> float:
    """Bytes a second of the biggest round; small rounds measure only their own overhead."""
    biggest = max(rounds, key=lambda item: item.bytes)
    return biggest.bytes / max(biggest.copy_seconds, 0.05)


def dirty_rate(rounds: tuple[Round, ...]) -> float:
    """Bytes a second the guest makes dirty: the higher of the last two delta rounds; 0 before the first."""
    deltas = [item.bytes / item.interval_seconds for item in rounds if item.interval_seconds > 0]
    return max(deltas[-2:], default=0.0)


def slowness(rounds: tuple[Round, ...]) -> float:
    """How many times slower than at ease the cluster is: 1, or the overhead of the quickest round in multiples of EASE_SECONDS.

    A round's overhead is its seconds beyond the copying: a pod starts, finds its exporter, ends. Below a certain load it says nothing about
    how long a guest boots, which is why the quickest round is taken and short overheads make no prediction shorter.
    """
    return max(1.0, min(max(item.total_seconds - item.copy_seconds, 0.0) for item in rounds) / EASE_SECONDS)


def downtime(rounds: tuple[Round, ...], disk_bytes: int, budget_seconds: float, timing: Timing, round_pause_seconds: float) -> Prediction:
    """Predict the downtime of a cutover right after the last round, and whether it can ever fit the budget."""
    rate, dirty = throughput(rounds), dirty_rate(rounds)
    slow = slowness(rounds)
    final, start, convert = timing.final_seconds * slow, timing.start_seconds * slow, timing.convert_seconds * slow
    cycle = rounds[-1].total_seconds + round_pause_seconds + timing.stop_seconds
    delta = final + dirty * cycle / rate
    verify = disk_bytes / timing.verify_bytes_per_second if timing.verify_bytes_per_second else 0.0
    fixed = timing.stop_seconds + final + verify + convert + start
    total = timing.stop_seconds + delta + verify + convert + start
    fits = total <= budget_seconds
    measured = len(rounds) > 1
    # Overheads vary from round to round: a second delta has to confirm that the fixed parts are too long.
    never = not fits and ((len(rounds) > 2 and fixed > budget_seconds) or (measured and dirty >= rate))
    parts = (f"{total:.1f} s = stop {timing.stop_seconds:.1f} + last changes {delta:.1f} + verification {verify:.1f}"
             f"{f' + conversion {convert:.1f}' if convert else ''} + start {start:.1f}")
    if never:
        why = ("the parts that do not depend on changes alone exceed it" if fixed > budget_seconds
               else f"the guest changes {dirty / 1e6:.1f} MB/s, the copy manages {rate / 1e6:.1f} MB/s")
        sentence = f"the downtime will never fit {budget_seconds:.0f} s: {why} ({parts}; {dirty / 1e6:.2f} MB/s changing)"
    else:
        sentence = f"predicted downtime {parts}, budget {budget_seconds:.0f} s, {dirty / 1e6:.2f} MB/s changing"
    return Prediction(total, timing.stop_seconds, delta, verify, start, convert, dirty, rate, fits, never, sentence)


def cold_seconds(disk_bytes: int, bytes_per_second: float, timing: Timing) -> float:
    """Downtime of a cold move in seconds: stop, copy, verify, convert, start."""
    verify = disk_bytes / timing.verify_bytes_per_second if timing.verify_bytes_per_second else 0.0
    return timing.stop_seconds + disk_bytes / bytes_per_second + verify + timing.final_seconds + timing.convert_seconds + timing.start_seconds


def learned(measured: list[dict], default: Timing) -> Timing:
    """Timing from the measured cutovers of the journal (the mean of the last three that know a part); the default where there are none.

    What was measured on a slow cluster is brought back to one at ease. A VM that was off says nothing about stopping, a start without a
    probe nothing about starting: nobody knows when the guest was up. Without a conversion to come none is learned.
    """
    def mean(name: str, known: list[dict]) -> float:
        values = [float(item[name]) / (item.get("slowness") or 1.0 if name in ("final_seconds", "start_seconds", "convert_seconds") else 1.0)
                  for item in known if item.get(name)][-3:]
        return sum(values) / len(values) if values else getattr(default, name)

    probed = [item for item in measured if item.get("probe")]
    stopped = [item for item in measured if item.get("downtime_seconds") is not None]
    return Timing(mean("stop_seconds", stopped), mean("final_seconds", measured), mean("verify_bytes_per_second", measured),
                  mean("start_seconds", probed), mean("convert_seconds", measured) if default.convert_seconds else 0.0)
