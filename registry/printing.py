"""What the registry's commands print for people."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from registry.collect import Collected
from registry.gates import Gate

_SHOWN = 20
_SHORT = 12


def as_json(content: Any) -> str:
    """JSON for programs; numbers that are none, as a manifest may have, become null."""
    return json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def versions_table(lines: Sequence[dict[str, Any]]) -> str:
    """The versions of a registry, one a line."""
    if not lines:
        return "no version yet; 'topiccore registry push' adds one"
    rows = [("version", "pushed", "by", "precision", "coverage", "MB", "channels", "note")]
    for line in lines:
        rows.append(
            (
                line["id"][:_SHORT],
                _moment(line["when"]),
                str(line["who"] or "?"),
                _share(line["quality"].get("precision")),
                _share(line["quality"].get("coverage")),
                f"{line['bytes'] / 1e6:.1f}",
                " ".join(line["channels"]) or "-",
                "DAMAGED" if line["damage"] else _printable(line["note"] or ""),
            )
        )
    return _table(rows)


def version_text(found: dict[str, Any]) -> str:
    """All about one version."""
    lines = [
        f"version   {found['id']}",
        f"pushed    {_moment(found['when'])} by {found['who']} on {found.get('host')}",
        f"channels  {' '.join(found['channels']) or '-'}",
        f"path      {found['path']}",
    ]
    if found["note"]:
        lines.append(f"note      {_printable(found['note'])}")
    if found["damage"]:
        return "\n".join([*lines, f"DAMAGED   {found['damage']}"])
    lines.append(
        f"model     {found['labels']} labels, {found['features']} features, "
        f"{found['bytes'] / 1e6:.1f} MB, {found['encoding']}"
    )
    for name, value in found["quality"].items():
        lines.append(f"  {name:16}{value:.4g}" if _is_number(value) else f"  {name:16}{value}")
    if found.get("report"):
        report = found["report"]
        text = f"report    on {report['queries']} {report['measured_on']}"
        if added := found.get("report_added"):
            text += f", added {_moment(added['when'])} by {added['who']}"
        lines.append(text)
    for title, content in (
        ("settings", found["training"].get("settings")),
        ("data", found["data"]),
    ):
        if content:
            lines += [title, *(f"  {x}" for x in json.dumps(content, indent=1).splitlines()[1:-1])]
    return "\n".join(lines)


def channel_text(found: dict[str, Any]) -> str:
    """A channel and its history."""
    lines = [f"channel   {found['channel']}", f"version   {found['version'] or 'none'}"]
    if found["unrecorded"]:
        lines.append("          (not what the history says: a change was cut off, or made by hand)")
    earlier = [
        x[:_SHORT] + (" (was deleted by gc)" if x in found["deleted"] else "")
        for x in found["earlier"]
    ]
    lines.append(f"earlier   {', '.join(earlier) or '-'}")
    for record in found["history"]:
        lines.append(record_text(record))
        lines += [
            f"          {gate['name']}: {gate['state']}" for gate in record.get("gates") or []
        ]
    return "\n".join(lines)


def record_text(record: dict[str, Any]) -> str:
    """A change of a channel, in a line."""
    text = (
        f"{record['number']:>4}  {_moment(record['when'])}  {record['action']:9} "
        f"{_short(record['from'])} -> {_short(record['to'])}  by {record['who']}"
    )
    if record.get("reason"):
        text += f": {_printable(record['reason'])}"
    for told, reason in (
        ("gates overridden", record.get("override")),
        ("content with the manifests' figures", record.get("figures_only")),
        ("looser limits", (record.get("limits") or {}).get("reason")),
    ):
        if reason:
            text += f" [{told}: {_printable(reason)}]"
    return text


def gates_text(gates: Sequence[Gate]) -> str:
    """What each gate found."""
    return "\n".join(f"  {gate.name:9} {gate.state:8} {gate.text}" for gate in gates)


def difference_text(found: dict[str, Any], full_name: Callable[[str], str]) -> str:
    """The figures and settings of two versions side by side, and what changes in the answers."""
    rows = [("", found["from"][:_SHORT], found["to"][:_SHORT])]
    for part in ("figures", "settings", "data"):
        rows += [(name, *map(_value, pair)) for name, pair in found[part].items()]
    lines = [_table(rows)]
    for key in ("labels_added", "labels_removed"):
        if found[key]:
            lines.append(f"{key.replace('_', ' ')}: {' '.join(found[key])}")
    if quality := found.get("quality"):
        for weighting, values in quality["differences"]["all labels"].items():
            told = (
                f"{name} {x['difference']:+.2%} [{x['interval'][0]:+.2%}, {x['interval'][1]:+.2%}]"
                for name, x in values.items()
            )
            lines.append(f"measured, {weighting}: {', '.join(told)}")
        lines.append(
            f"{quality['better']} answers better, {quality['worse']} worse "
            f"(p = {quality['p_value']:.3g})"
        )
    answers = found.get("answers")
    if answers is None:
        return "\n".join([*lines, "no queries to ask: give --labels or --queries"])
    lines.append(f"{answers['changed']} of {answers['queries']} answers change")
    if answers["topics"]:
        counts: list[tuple[str, ...]] = [("topic", "gained", "lost", "moved")]
        for code, count in answers["topics"].items():
            counts.append((f"{code} {full_name(code)}", *(str(x) for x in count.values())))
        lines.append(_table(counts))
    for one in answers["answers"][:_SHOWN]:
        before, now = (" ".join(one[key]) or "-" for key in ("before", "now"))
        lines.append(f"  {_printable(one['text'])}: {before} -> {now}")
    if answers["changed"] > _SHOWN:
        lines.append(f"  and {answers['changed'] - _SHOWN} more (--json has them all)")
    return "\n".join(lines)


def collected_text(found: Collected, dry_run: bool) -> str:
    """What was deleted, or would be."""
    verb = "would delete" if dry_run else "deleted"
    lines = [f"{verb} {x[:_SHORT]} ({y / 1e6:.1f} MB)" for x, y in found.versions.items()]
    lines += [f"{verb} the unfinished {x}" for x in found.unfinished]
    lines += [f"kept {x[:_SHORT]}: {why}" for x, why in found.kept.items()]
    return "\n".join(lines or ["nothing to delete"])


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "-" if value is None else str(value)
    return text if len(text) <= 24 else text[:21] + "..."


def _share(value: Any) -> str:
    return f"{value:.1%}" if _is_number(value) and math.isfinite(value) else "-"


def _short(identity: str | None) -> str:
    return identity[:_SHORT] if identity else "nothing".ljust(_SHORT)


def _moment(when: str | None) -> str:
    return when[:19].replace("T", " ") if when else "?"


def _printable(text: str) -> str:
    # Control characters in a note or a query must not steer the reader's terminal.
    return "".join(x if x.isprintable() else "\ufffd" for x in text[:200])
