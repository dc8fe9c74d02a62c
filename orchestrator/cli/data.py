from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table

from orchestrator.cli.options import console, data_option
from workers.data.registry import DATASETS

if TYPE_CHECKING:
    from pathlib import Path

NAMED = {name: dataset for name, dataset in DATASETS.items() if not dataset.is_reader()}
READERS = {name: dataset for name, dataset in DATASETS.items() if dataset.is_reader()}
NAME = click.argument("name", type=click.Choice(list(NAMED)))


@click.group("data")
def command() -> None:
    """List, fetch and check datasets. Nothing is downloaded unless `data fetch` is asked to."""


@command.command("list")
@data_option
def list_datasets(data_root: Path) -> None:
    """List the datasets and whether they are here, and the readers of your own files."""
    table = Table(box=None, header_style="bold")
    for column in ("name", "examples", "here", "what"):
        table.add_column(column)
    for name, dataset in NAMED.items():
        whole = dataset()
        here = all(path.is_file() for path in whole.locate(data_root))
        table.add_row(name, f"{whole.train_examples:,}", "yes" if here else "no", dataset.summary)
    for name, reader in READERS.items():
        table.add_row(name, "yours", "", reader.summary)
    console().print(table)


@command.command("fetch")
@NAME
@data_option
def fetch(name: str, data_root: Path) -> None:
    """Download a dataset into the data folder."""
    DATASETS[name]().fetch(data_root)
    click.echo(f"{name} is in {data_root}")


@command.command("check")
@NAME
@data_option
def check(name: str, data_root: Path) -> None:
    """Load a dataset and say what it holds."""
    data = DATASETS[name]().load(data_root)
    for split in ("train", "validation", "test"):
        images = data.split(split)
        click.echo(f"{name} {split}: {len(images):,} examples of {images.shape}")
