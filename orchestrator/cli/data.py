from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
from rich.table import Table

from orchestrator.cli.options import data_option
from orchestrator.terminal import console, echo
from workers.data.inception_weights import NAME as WEIGHTS
from workers.data.inception_weights import fetch_weights, weights_below
from workers.data.published import fetching
from workers.data.registry import DATASETS

if TYPE_CHECKING:
    from pathlib import Path

    from workers.data.split import Split

NAMED = {name: dataset for name, dataset in DATASETS.items() if not dataset.is_reader()}
READERS = {name: dataset for name, dataset in DATASETS.items() if dataset.is_reader()}
NAME = click.argument("name", type=click.Choice(list(NAMED)))


@click.group("data")
def command() -> None:
    """List, fetch and check datasets. Only `data fetch` downloads.

    \b
    mrvae-orch data list
    mrvae-orch data fetch cifar10 --data /mnt/data
    mrvae-orch data check cifar10 --data /mnt/data
    """


@command.command("list")
@data_option
def list_datasets(data_root: Path) -> None:
    """List datasets, whether they are present, and the readers for your own files."""
    table = Table(box=None, header_style="bold")
    for column in ("name", "examples", "here", "what"):
        table.add_column(column)
    for name, dataset in NAMED.items():
        whole = dataset()
        here = fetching.is_here(whole, data_root)
        table.add_row(name, f"{whole.train_examples:,}", "yes" if here else "no", dataset.summary)
    for name, reader in READERS.items():
        table.add_row(name, "yours", "", reader.summary)
    console().print(table)


@command.command("fetch")
@click.argument("name", type=click.Choice([*NAMED, WEIGHTS]))
@data_option
@click.option("--again", is_flag=True, help="Download again, for example if a file is damaged.")
def fetch(name: str, data_root: Path, again: bool) -> None:
    """Download a dataset, or the weights for fid, into the data folder. A failed download leaves nothing behind."""
    if name == WEIGHTS:
        if weights_below(data_root).is_file() and not again:
            echo(f"{name} are already in {data_root}; --again downloads them again")
            return
        fetch_weights(data_root)
        echo(f"{name} are in {data_root}")
        return
    dataset = DATASETS[name]()
    if dataset.locate(data_root) and fetching.is_here(dataset, data_root) and not again:
        echo(f"{name} is already in {data_root}; --again downloads it again")
        return
    fetching.fetch(dataset, data_root)
    echo(f"{name} is in {data_root}")


@command.command("check")
@NAME
@data_option
def check(name: str, data_root: Path) -> None:
    """Load a dataset and print its splits, shapes and location."""
    dataset = DATASETS[name]()
    data = dataset.load(data_root)
    for split in dataset.splits:
        examples = data.split(split)
        where = _where(examples, data_root)
        echo(f"{name} {split}: {len(examples):,} examples of {examples.shape}{where}")
    if files := dataset.locate(data_root):
        echo(f"{name} is read from {os.path.commonpath([path.parent for path in files])}")


def _where(split: Split, data_root: Path) -> str:
    # Imported here because they import torch, which `data list` has no use for.
    from workers.data.dataset import CACHE
    from workers.data.resident import Images, MappedImages

    if not isinstance(split, Images):
        return ""
    place = f"mapped from {data_root / CACHE}" if isinstance(split, MappedImages) else "in memory"
    return f", {split.pixels.nbytes / 1e6:,.1f} MB {place}"
