# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lexicographic objective: what each level counts, over a complete or partial placement."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.placement import failover
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.problem import Option
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.state import State

SOFT_RULE_COST = 100
SENSES = {"placed": "max", "gpu_share": "max", "failover": "min", "moves": "min", "preferences": "min", "fragmentation": "min", "nodes": "min"}


def values(state: State, replay: bool = True) -> dict[str, int]:
    """Return the value of every level: weight placed, thousandths of GPUs that it asks for, restarts lost, cost of moves (a stop counts as one) and
    mode changes, missed wishes, GPUs broken into and workloads without GPU on GPU nodes, nodes opened.

    Without `replay` the failures are not replayed and count 0.
    """
    problem = state.problem
    placed = share = moves = wishes = fragments = 0
    for number, place in state.places.items():
        item = problem.items[number]
        kind = problem.types[item.type]
        option = kind.options[place.option]
        placed += kind.weight
        share += gpu_share(option)
        wishes += kind.wishes.get(place.node, 0) + option.cost
        fragments += option.gpu is None and bool(problem.nodes[place.node].node.gpus)
    for number, item in enumerate(problem.items):
        if item.current >= 0 and (number not in state.places or state.places[number].node != item.current):
            moves += item.move_cost
    for gpus in state.gpus:
        if gpus.granted:
            moves += gpus.cost
            fragments += gpus.partial
    nodes = sum(bool(items) and not info.occupied for items, info in zip(state.on, problem.nodes, strict=True))
    lost = sum(len(failure.lost) for failure in failover.replay_all(state)) if replay else 0
    return {"placed": placed, "gpu_share": share, "failover": lost, "moves": moves, "preferences": wishes + soft(state),
            "fragmentation": fragments, "nodes": nodes}


def gpu_share(option: Option) -> int:
    """Return the thousandths of GPUs that an option asks for; a MIG profile by its memory slices of eight, a vGPU none."""
    gpu = option.gpu
    if gpu is None or gpu.kind == "vgpu":
        return 0
    if gpu.kind == "mig":
        return gpu.count * {"1g": 125, "2g": 250, "3g": 500, "4g": 500, "7g": 1000}.get(gpu.profile.split(".")[0], 0)
    return gpu.count * gpu.milli


def soft(state: State) -> int:
    """Return the cost of the rules that are wishes and do not hold."""
    cost = 0
    for rule, counts in zip(state.problem.rules, state.counts, strict=True):
        if rule.required or not counts:
            continue
        cost += len(counts) - 1 if rule.kind == "together" else sum(count - 1 for domain, count in counts.items() if domain >= 0)
    return SOFT_RULE_COST * cost


def key(state: State, replay: bool = True) -> tuple[int, ...]:
    """Return the values in the policy's order as a tuple of which the smallest is best."""
    found = values(state, replay)
    return tuple(-found[name] if SENSES[name] == "max" else found[name] for name in state.problem.demand.policy.objectives)
