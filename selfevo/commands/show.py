"""selfevo show: an experiment in full: its loop as a picture, what it sets, its paper's numbers, what was measured here, how to run it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UserError, nearest

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..catalogue.composing import Composition
    from ..catalogue.files import Tree

USAGE = """usage: selfevo show EXPERIMENT [--config-dir DIR]

The loop as a picture of stages and roles, the settings that differ from the
baseline, the paper's numbers and what nobody could confirm, the result recorded
here, and the commands that run it.

  selfevo show sec           the paper's setting
  selfevo show tiny/sec      the run with the bundled policy"""

LONGEST = 160
"""Characters of a value that are shown."""


def main(arguments: Sequence[str]) -> int:
    """Print it. Raises UserError for a wrong call or an unknown experiment."""
    if any(a in ("-h", "--help") for a in arguments):
        print(USAGE)
        return 0
    names: list[str] = []
    folders: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        option, equals, given = argument.partition("=")
        if option == "--config-dir":
            folders.append(given if equals else next(rest, ""))
        elif argument.startswith("-"):
            raise UserError(f"unknown option '{argument}'{nearest(argument, ['--config-dir', '--help'])}")
        else:
            names.append(argument.removeprefix("experiment="))
    from ..catalogue.files import Tree

    tree = Tree(folders)
    known = tree.choices("experiment")
    if len(names) != 1:
        raise UserError("which experiment? usage: selfevo show EXPERIMENT (selfevo list names them)")
    if names[0] not in known:
        raise UserError(f"no experiment '{names[0]}'{nearest(names[0], known)}; selfevo list WORD finds one")
    from .plain import put

    put(parts(names[0], tree))
    return 0


def parts(name: str, tree: Tree) -> Iterator[RenderableType]:
    """The sections in order."""
    from rich.text import Text

    from ..catalogue.composing import Composition
    from ..catalogue.entries import entries_of

    composed = Composition(tree, [f"experiment={name}"])
    entry = entries_of(tree, [name])[0]
    spec = composed.resolved()
    yield Text(name, style="bold")
    yield Text(entry.title)
    if entry.evolves:
        yield Text(f"Evolves: {entry.evolves}.")
    yield from _loop(spec)
    yield from _roles(spec)
    yield from _settings(name, entry.tiny, composed, tree)
    yield from _paper(entry.paper)
    yield from _result(entry.ledger, entry.reproducible)
    yield from _commands(name, entry.tiny, entry.reproducible)


def _head(text: str) -> Iterator[RenderableType]:
    from rich.text import Text

    yield ""
    yield Text(text, style="bold")


def _grid(*widths: int | None) -> Any:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for width in widths:
        table.add_column(overflow="fold", no_wrap=width == 0)
    return table


def _loop(spec: Mapping[str, Any]) -> Iterator[RenderableType]:
    from rich.text import Text

    from ..catalogue.diagram import lines

    ascii_only = "utf" not in (sys.stdout.encoding or "").lower()
    arrow = " -> " if ascii_only else " → "
    yield from _head("The loop")
    table = _grid(0, 0, None)
    for line in lines(spec, ascii_only):
        name = Text.assemble((line.guide, "dim"), (line.name, "bold" if line.kind == "block" else ""))
        flow = Text(arrow.join(line.flow))
        if line.note:
            flow.append(("  " if line.flow else "") + line.note, style="dim")
        table.add_row(name, Text("" if line.kind in ("block", line.name) else line.kind, style="cyan"), flow)
    yield table


def _roles(spec: Mapping[str, Any]) -> Iterator[RenderableType]:
    from rich.text import Text

    roles = {k: v for k, v in (spec.get("roles") or {}).items() if isinstance(v, Mapping)}
    if not roles:
        return
    yield from _head("Roles")
    table = _grid(0, None)
    for name, role in roles.items():
        policy = str(role.get("policy", ""))
        model = (spec.get("policies") or {}).get(policy.partition("@")[0]) or {}
        weights = model.get("path") or str(model.get("_target_", "")).rpartition(".")[2]
        said = [f"policy {policy}" + (f" ({weights})" if weights else ""), f"prompt {role.get('prompt', 'solve')}"]
        said += [f"reads {', '.join(role['memories'])}"] if role.get("memories") else []
        said += [f"engine {role['engine']}"] if role.get("engine") else []
        table.add_row(Text(name), Text(", ".join(said)))
    yield table


def _settings(name: str, tiny: str | None, composed: Composition, tree: Tree) -> Iterator[RenderableType]:
    """Against the named baseline where there is one, and against the choices alone."""
    from ..catalogue.composing import Composition
    from ..catalogue.differences import differences

    compared = name if "reproduce" in _blocks(composed) else tiny
    method = composed if compared == name else Composition(tree, [f"experiment={compared}"]) if compared else None
    block = _blocks(method).get("reproduce") if method else None
    if method is not None and block:
        base = block["baseline"]
        other = Composition(tree, [f"experiment={base['experiment']}", *base.get("overrides", ())])
        yield from _head(f"Against its baseline, {base['name']} (experiment={compared})")
        yield from _rows(differences(method.merged(), other.merged()))
    chosen = [f"{k}={v}" for k, v in composed.choices.items() if "@" not in k and k not in ("experiment", "scale")]
    alone = Composition(tree, chosen)
    usual = Composition(tree, [])
    yield from _head("Choices that differ from the base config")
    apart = [(k, v, usual.choices.get(k, "")) for k, v in composed.choices.items() if usual.choices.get(k) != v and k != "experiment"]
    yield from _rows(sorted(apart))
    own = [d for d in differences(composed.merged(), alone.merged()) if d[0].partition(".")[0] not in ("loop", "roles", "policies")]
    new = [d for d in own if not (d[2] == "(not there)" and d[0].startswith("stages."))]
    yield from _head("Keys set beside these choices")
    yield from _rows(new)


def _blocks(composed: Composition) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for part in composed.parts:
        out |= {k: v for k, v in part.file.body.items() if k in ("paper", "reproduce") and v}
    return out


def _rows(rows: Sequence[tuple[str, str, str]]) -> Iterator[RenderableType]:
    from rich.text import Text

    if not rows:
        yield Text("none", style="dim")
        return
    table = _grid(0, None)
    for key, here, there in rows:
        value = Text(_cut(here))
        if there not in ("", "(not there)"):
            value.append(f"  (there: {_cut(there)})", style="dim")
        table.add_row(Text(key), value)
    yield table


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _paper(paper: Mapping[str, Any]) -> Iterator[RenderableType]:
    from rich.text import Text

    if not paper:
        return
    yield from _head("The paper")
    code = f", code: {paper['code']}" if paper.get("code") else ", no code released"
    yield Text(f"{paper.get('title')} ({paper.get('year')}, arXiv:{paper.get('arxiv')}{code})")
    for claim in paper.get("claims") or ():
        value = "not known" if claim.get("value") is None else claim["value"]
        base = "" if claim.get("baseline_value") is None else f": {claim['baseline_value']}"
        against = f" ({claim['baseline']}{base})" if claim.get("baseline") else ""
        model = f", {claim['model']}" if claim.get("model") else ""
        yield _bullet(f"{claim['metric']}{model}: {value}{against}")
    if paper.get("unconfirmed"):
        yield Text("Not confirmed:")
        for said in paper["unconfirmed"]:
            yield _bullet(said)


def _bullet(text: str) -> RenderableType:
    from rich.text import Text

    table = _grid(0, None)
    table.add_row(" -", Text(str(text)))
    return table


def _result(ledger: Mapping[str, Any] | None, reproducible: bool) -> Iterator[RenderableType]:
    from rich.text import Text

    if ledger is None and not reproducible:
        return
    yield from _head("Measured here")
    if ledger is None:
        yield Text("not measured yet")
        return
    e = ledger["effect"]
    pairs = ledger["pairs"]
    yield Text(
        f"{e['verdict']}: {ledger['metric']} {e['mean']:+.3f} against {ledger['baseline']} "
        f"(95% over {len(pairs)} seeds: {e['low']:+.3f} to {e['high']:+.3f}), with the bundled policy, at equal cost"
    )
    seconds = sum(p["method"]["seconds"] for p in pairs) / len(pairs)
    yield Text(f"One tiny run took {seconds:.0f} s ({ledger['environment'].get('processor', 'unknown processor')}).")


def _commands(name: str, tiny: str | None, reproducible: bool) -> Iterator[RenderableType]:
    from rich.text import Text

    yield from _head("Run it")
    if tiny is not None:
        yield Text(f"  selfevo run experiment={tiny}")
    if name != tiny:
        yield Text(f"  selfevo validate experiment={name}" if tiny is not None else f"  selfevo run experiment={name}")
        yield Text(f"  selfevo plan experiment={name}")
    if reproducible:
        yield Text(f"  selfevo reproduce {name.removeprefix('tiny/')}")
