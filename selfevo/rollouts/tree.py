"""A search tree over one reply: steps as edges, values at nodes, simulations that decide where to look."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ..errors import UserError
from ..protocols import Dialogue, Environment, EpisodeCtx, Seat
from ..records import Cost, Task, Trajectory, Turn
from .seating import seat_of
from .together import together
from .values import NodeValue, Place, Worth


@dataclass(eq=False)
class Node:
    """A reply up to the end of a step. `Q` is the worth of the step that leads here, `V` that of going on from here, `N` counts visits;
    `judged` is (Q, N) at the moment when the search chose among this step and its siblings."""

    talk: Dialogue
    parent: Node | None = None
    depth: int = 0
    ended: bool = False
    value: float = 0.0
    prior: float = 1.0
    cost: Cost = field(default_factory=Cost)
    children: list[Node] = field(default_factory=list)
    N: int = 0
    V: float = 0.0
    Q: float = 0.0
    judged: tuple[float, int] | None = None

    @property
    def gain(self) -> float:
        """r: what the step added to the value of the node it starts from."""
        return self.value - (0.0 if self.parent is None else self.parent.value)

    def line(self) -> Iterator[Node]:
        """This node and those above it, without the root."""
        node: Node | None = self
        while node is not None and node.parent is not None:
            yield node
            node = node.parent


class Tree:
    """Monte-Carlo tree search with the policy's own steps as moves (Xie et al. 2024, arXiv:2405.00451, section 2.1, and its code).

    A move is a step: what the policy writes up to a stop string (`stop`), to `step_tokens`, or to the end of its reply. Expanding a node
    draws `breadth` steps (`root_breadth` at the start of the reply) by forks of its conversation, drops equal ones and asks `value` for
    the worth of each. After `depth` steps one more goes on to the end of the reply without branching.

    A simulation starts at the node the search stands at, picks children by PUCT,

        argmax Q + c p sqrt(N of the parent) / (1 + N),     p = exp(sum of log-probs of the step / its length ^ length_penalty),

    and expands on its way: down to an ended reply (`expand: path`, the paper's code) or one node (`leaf`). On the way back
    V = sum max(1, N) Q / sum max(1, N) over the children and Q = r + gamma V, with r the value gained by the step; a new child starts at
    Q = V of its parent + r. After `simulations` of them (times `root_factor` at the start) the search moves to the most visited child
    (then by Q, then V; first of equals), until the reply has ended.

    Every step is recorded as a trajectory whose parent it extends: siblings share `parent`. Keys: `depth` (1 for first steps), `path`
    ("yes" on the chosen line), "env:q", "env:visits" (both as they were when the search chose among the siblings), "env:value";
    `FromEnvironment` reads them as rewards. The end of the chosen line is the only `final` one; what is not on that line has the status
    "pruned". Tokens of equal steps and of value estimates count as discarded, in the cost of the step they were spent on.

    `budget` bounds the tokens generated in one tree. When it is spent nothing more is expanded: the search moves on along what is there,
    and where the chosen line has not ended its last step is final and truncated. So it is where the context is full.

    Args:
        value: worth of a node.
        simulations, root_factor: simulations per move, and how many times that for the first.
        breadth, root_breadth: children of a node; None: as many at the root as elsewhere.
        depth: branching steps at most.
        stop: strings that end a step. step_tokens: longest step; None: the role's `max_tokens`.
        c_puct, gamma, length_penalty, expand: see above.
        budget: most generated tokens; None: no bound.
        role: seat that replies; may be left out when the episode has only one.
    """

    def __init__(
        self,
        value: NodeValue,
        simulations: int = 64,
        root_factor: int = 4,
        breadth: int = 2,
        root_breadth: int | None = None,
        depth: int = 3,
        stop: Sequence[str] = ("\n",),
        step_tokens: int | None = None,
        c_puct: float = 1.0,
        gamma: float = 1.0,
        length_penalty: float = 1.25,
        expand: Literal["path", "leaf"] = "path",
        budget: int | None = None,
        role: str | None = None,
    ):
        counts = {"simulations": simulations, "root_factor": root_factor, "breadth": breadth, "root_breadth": root_breadth}
        for name, count in {**counts, "depth": depth, "step_tokens": step_tokens, "budget": budget}.items():
            if count is not None and count < 1:
                raise UserError(f"rollouts.Tree: {name} must be at least 1, got {count}")
        if expand not in ("path", "leaf"):
            raise UserError(f"rollouts.Tree: expand must be 'path' or 'leaf', got {expand!r}")
        if not stop and step_tokens is None:
            raise UserError("rollouts.Tree: a step ends at a string in `stop` or after `step_tokens`; give one of them")
        self.value, self.simulations, self.root_factor, self.depth, self.budget = value, simulations, root_factor, depth, budget
        self.breadth, self.root_breadth = breadth, breadth if root_breadth is None else root_breadth
        self.stop, self.step_tokens, self.expand, self.role = tuple(stop), step_tokens, expand, role
        self.c_puct, self.gamma, self.length_penalty = c_puct, gamma, length_penalty

    async def run(self, task: Task, seats: Mapping[str, Seat], env: Environment | None, ctx: EpisodeCtx) -> list[Trajectory]:
        """One trajectory per step of the tree, parents before children."""
        search = _Search(self, task, seat_of(seats, self.role), ctx)
        at = search.root
        while not at.ended:
            for _ in range(self.simulations * (self.root_factor if at is search.root else 1)):
                if not await search.simulate(at):
                    break
            if not at.children:
                break
            for child in at.children:
                child.judged = child.Q, child.N
            at = max(at.children, key=lambda child: (child.N, child.Q, child.V))
        return list(search.recorded(at))

    def puct(self, node: Node, visits: int) -> float:
        """What the child with the highest is followed for; `visits` of its parent."""
        return node.Q + self.c_puct * node.prior * math.sqrt(visits) / (1 + node.N)

    def prior(self, turn: Turn, siblings: int) -> float:
        """p of a step; 1 / siblings where the engine gave no log-probs."""
        if not turn.logprobs:
            return 1.0 / siblings
        return math.exp(math.fsum(turn.logprobs) / len(turn.logprobs) ** self.length_penalty)


class _Search:
    """One tree while it grows."""

    def __init__(self, tree: Tree, task: Task, seat: Seat, ctx: EpisodeCtx):
        self.tree, self.task, self.seat, self.ctx = tree, task, seat, ctx
        self.root = Node(seat.open(task))
        self.spent = 0

    async def simulate(self, start: Node) -> bool:
        """One simulation; False where the budget forbids the expansion it would need."""
        path, grown = [start], False
        while not path[-1].ended:
            if not path[-1].children:
                if grown and self.tree.expand == "leaf":
                    break
                if not await self._expand(path[-1]):
                    break
                grown = True
            at = path[-1]
            path.append(max(at.children, key=lambda child: self.tree.puct(child, at.N)))
        if len(path) == 1:
            return False
        self._back(path)
        return grown or path[-1].ended or self.tree.expand == "leaf"

    def _back(self, path: Sequence[Node]) -> None:
        for node in reversed(path):
            if node.children:
                weights = [max(1, child.N) for child in node.children]
                node.V = math.fsum(w * child.Q for w, child in zip(weights, node.children, strict=True)) / sum(weights)
            node.Q = node.gain + self.tree.gamma * node.V
            node.N += 1

    async def _expand(self, node: Node) -> bool:
        """Give a node children; False where the budget is spent or the context is full."""
        tree = self.tree
        if node.talk.room < 1 or (tree.budget is not None and self.spent >= tree.budget):
            return False
        last = node.depth >= tree.depth
        count = 1 if last else tree.root_breadth if node.parent is None else tree.breadth
        limits = {} if last else {"stop": tree.stop} | ({} if tree.step_tokens is None else {"max_tokens": tree.step_tokens})
        talks = [node.talk.fork() for _ in range(count)]
        turns = await together(talk.reply("step", **limits) for talk in talks)
        self.spent += sum(len(turn.tokens) for turn in turns)
        first = {turn.text: i for i, turn in reversed(list(enumerate(turns)))}
        for i in sorted(first.values()):
            turn, talk = turns[i], talks[i]
            again = sum(len(t.tokens) for j, t in enumerate(turns) if t.text == turn.text and j != i)
            cost = Cost(discarded_tokens=again, calls=sum(t.text == turn.text for t in turns) - 1)
            ended = talk.ended or (last and turn.finish == "length") or not turn.text
            node.children.append(Node(talk, node, node.depth + 1, ended, prior=tree.prior(turn, len(first)), cost=cost))
        worths = await together(self._worth(child) for child in node.children)
        for child, worth in zip(node.children, worths, strict=True):
            child.value, child.cost = worth.value, child.cost + worth.cost
            child.Q = node.V + child.gain
            self.spent += worth.cost.discarded_tokens
        return True

    async def _worth(self, node: Node) -> Worth:
        assert node.parent is not None
        return await self.tree.value(Place(node.talk, self.task, self.seat, node.ended, node.depth, node.parent.value), self.ctx)

    def recorded(self, end: Node) -> Iterator[Trajectory]:
        """Every step; one truncated trajectory where there is none."""
        line = set(end.line())
        if end is self.root:
            yield self.root.talk.close("truncated")
            return
        nodes = list(self.root.children)
        for node in nodes:  # grows while it is walked: breadth first
            nodes += node.children
            q, visits = node.judged or (node.Q, node.N)
            on, numbers = node in line, {"q": q, "visits": visits, "value": node.value}
            keys = {"depth": str(node.depth), "path": "yes" if on else "no", "final": "yes" if node is end else "no"}
            keys |= {f"env:{name}": repr(float(number)) for name, number in numbers.items()}
            t = node.talk.close(None if on else "pruned", keys=keys)
            status = "truncated" if node is end and not node.ended else t.status if node is end or not on else "finished"
            yield replace(t, status=status, cost=t.cost + node.cost)
