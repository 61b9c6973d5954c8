"""What the command line prints: lists, schemas, the claims table."""

import json
from pathlib import Path
from typing import Any


def show_list(configs: str | Path = "configs") -> int:
    """Prints every config, its experiment and expected time, and what it is about.

    A config is a line of narrow columns with its description below: a table of five
    columns has no room for words in an ordinary terminal.
    """
    import rich.console
    import rich.padding

    from djx.core.errors import ConfigError
    from djx.run._read import read_table

    rows, descriptions = [("config", "experiment", "tier", "expected")], [""]
    for path in sorted(Path(configs).glob("*/*.toml")):
        try:
            content = read_table(path)
        except ConfigError as error:
            rows.append((str(path), "", "", ""))
            descriptions.append(str(error))
            continue
        seconds = content.get("budget_seconds")
        expected = f"{seconds:.0f} s" if isinstance(seconds, int | float) else ""
        experiment, tier = (
            str(content.get(name, "")) for name in ("experiment", "tier")
        )
        rows.append((str(path), experiment, tier, expected))
        descriptions.append(str(content.get("description", "")))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    console = rich.console.Console(highlight=False)
    for place, (row, description) in enumerate(zip(rows, descriptions, strict=True)):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        style = None if place else "bold"
        console.print("  ".join(cells).rstrip(), markup=False, style=style)
        if description:
            console.print(rich.padding.Padding(_plain(description), (0, 0, 0, 4)))
    return 0


def _plain(content: Any) -> str:
    """Text that rich prints as it is."""
    import rich.markup

    return rich.markup.escape(str(content))


def experiment_names() -> list[str]:
    """The experiments of this package."""
    from djx.run._read import experiment_names

    return experiment_names("experiments")


def schema(experiment: str) -> dict[str, Any]:
    """JSON Schema of an experiment's config files, for editors."""
    from djx.run._file_schema import file_schema
    from djx.run._load import config_model, find_build

    build = find_build(experiment, "", "experiments")
    return file_schema(config_model(build))


def write_schemas(folder: str | Path) -> int:
    """Writes the schema of every experiment."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in experiment_names():
        path = Path(folder) / f"{name}.json"
        path.write_text(json.dumps(schema(name), indent=1) + "\n")
        print(path)
    return 0


def claims_table(results: Any) -> None:
    """Prints claimed, measured and verdict, with the spread over seeds."""
    import rich.console
    import rich.table

    from djx.run._report import number

    if not results.claims:
        return
    table = rich.table.Table(box=None, header_style="bold")
    for head in ("claim", "measure", "claimed", "measured", "over seeds", "verdict"):
        table.add_column(head, overflow="fold")
    for row in results.claims:
        table.add_row(
            row.name,
            row.measure,
            row.bound,
            number(row.value),
            f"{number(row.low)} .. {number(row.high)}",
            "[green]holds" if row.holds else "[red]FAILS",
        )
    console = rich.console.Console()
    if not console.is_terminal:  # a log has no width to keep to
        console = rich.console.Console(width=140)
    console.print(table)
