"""mien doctor: check the installation."""

from __future__ import annotations

import typer
from rich.console import Group
from rich.text import Text

from mien.cli import options
from mien.cli.output import show
from mien.errors import install_command
from mien.terminal import facts, table

app = typer.Typer()


@app.command()
def doctor(as_json: options.Json = False) -> None:
    """Show installed packages, devices and the cache, and run self-tests."""
    from mien.doctor import examine

    found = examine()
    cache = found["cache"]
    head = facts(
        ("mien", found["mien"]),
        ("python", f"{found['python']} on {found['platform']}"),
        ("devices", "\n".join(found["devices"])),
        ("cache", f"{cache['folder']} ({cache['bytes'] / 1e6:,.1f} MB)"),
    )
    told: set[str] = set()  # extras include each other: each version is shown once
    for extra, packages in found["packages"].items():
        if extra == "all":
            continue
        head.add_row("core" if extra == "core" else f"extra {extra}", _said(extra, packages, told))
        told |= set(packages)
    checks = table("self-test", "", "", words=(0, 2))
    marks = {
        True: Text("passed", "green"),
        False: Text("FAILED", "red"),
        None: Text("skipped", "yellow"),
    }
    for check in found["checks"]:
        checks.add_row(check["name"], marks[check["passed"]], Text(check["detail"]))
    show(found, Group(head, checks), as_json=as_json)
    if any(check["passed"] is False for check in found["checks"]):
        raise typer.Exit(1)


def _said(extra: str, packages: dict[str, str | None], told: set[str]) -> Text:
    """The versions of an extra's packages that were not shown before, or a line that it is missing."""
    missing = [name for name, version in packages.items() if not version]
    if not missing:
        versions = (f"{name} {packages[name]}" for name in packages if name not in told)
        return Text(", ".join(versions) or "installed, see above")
    if len(missing) == len(packages):
        lacks = "not installed"
    else:
        lacks = f"misses {missing[0]}" + f" and {len(missing) - 1} more" * (len(missing) > 1)
    return Text(f"{lacks}: {install_command(extra)}", "yellow")
