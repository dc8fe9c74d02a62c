from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import (
    console,
    data_option,
    print_scale,
    scale_option,
    set_option,
    spec_argument,
    store_option,
    tracking_option,
)

if TYPE_CHECKING:
    from pathlib import Path

    from workers.store import Store


@click.command("submit")
@spec_argument
@store_option
@data_option
@tracking_option
@scale_option
@set_option
@click.option("--dry-run", is_flag=True, help="Show what would run, and run nothing.")
@click.option("--retry-failed", is_flag=True, help="Try failed trials anew.")
@click.option(
    "--checkpoint-every",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="How often a running trial checkpoints.",
)
@click.pass_context
def command(
    context: click.Context,
    spec_path: Path,
    store: Store,
    data_root: Path,
    tracking_uri: str | None,
    scale: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    retry_failed: bool,
    checkpoint_every: float,
) -> None:
    """Train what is left of a sweep on this machine's Ray, and report on it.

    Nothing that is done is done again: the same command goes on where it was interrupted, and a spec with more β,
    seeds or metrics runs only what is new. Exit codes: 0 all done; 1 some trials failed; 2 the spec, the data or
    the store cannot be used; 130 interrupted, after running trials have checkpointed.

    \b
    mrvae-orch submit recipes/quickstart.yaml
    mrvae-orch submit my.yaml --scale smoke
    mrvae-orch submit my.yaml --store /mnt/runs --set training.epochs=20 --set seeds=[0,1,2]
    """
    from orchestrator.spec_file import read_spec

    spec = read_spec(spec_path, overrides, scale)
    if dry_run:
        from orchestrator.cli.plan import show_plan

        show_plan(spec, store, console())
        return
    print_scale(spec, console())
    from orchestrator.submission import SubmitOptions, submit

    options = SubmitOptions(
        data_root=data_root,
        tracking_uri=tracking_uri,
        retry_failed=retry_failed,
        checkpoint_seconds=checkpoint_every,
        environment=os.environ,
    )
    context.exit(submit(spec, store, options, console()))
