"""`mrvae-orch`: the command group. Commands are imported when they run, so that `--help` is quick."""

from __future__ import annotations

import atexit
import gc
import importlib
import time
from typing import Any

import click

from orchestrator.errors import ExitCode, UserError, as_user_error
from orchestrator.terminal import echo

COMMANDS = {
    "submit": "train the unfinished trials of a sweep, then write its report",
    "plan": "show the trials of a spec and their expected cost",
    "status": "show which trials are done, running, failed and pending",
    "list": "list the sweeps of a store and the jobs of a cluster",
    "watch": "follow a sweep that runs elsewhere",
    "logs": "print the log of a sweep or of one of its trials",
    "cancel": "stop a sweep or some of its trials",
    "retry": "retry failed or cancelled trials",
    "report": "write the report of a sweep again",
    "compare": "compare sweeps of several datasets or architectures",
    "evaluate": "evaluate finished trials again, without training",
    "check": "check a sweep against published or recorded curves",
    "record": "record a sweep as a reference for later checks",
    "sync": "upload missing records to MLflow",
    "ui": "open MLflow on the store",
    "data": "list, fetch and check datasets",
    "doctor": "check this machine, the store and the tracking server",
    "schema": "print the JSON Schema of a spec, for editors",
    "completion": "print the shell's completion script",
}


class CommandGroup(click.Group):
    """Imports a command only when it is used, and turns known errors into one message and exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's)
        """Return the names in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's)
        """Return the command of a name, imported from the module of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"orchestrator.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (click's)
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command where there is none of that name."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            from orchestrator.errors import hint

            ctx.fail(f"no command {name!r}; {hint(name, COMMANDS)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error that a user can correct ends in one message and exit code 2."""
        try:
            _check_clock()
            return super().invoke(ctx)
        except KeyboardInterrupt:
            echo("interrupted", err=True)
            ctx.exit(ExitCode.STOPPED)
        except Exception as error:
            known = as_user_error(error)
            if known is None:
                raise
            raise _Refusal(known) from error


def _check_clock() -> None:
    """Raise UserError where waiting is forbidden: whatever waits would end, or not, without a word."""
    try:
        time.sleep(1e-9)
    except OSError as error:
        raise UserError(
            f"this container forbids programs to wait (clock_nanosleep: {error.strerror}); use a newer container "
            "runtime, or start the container with --security-opt seccomp=unconfined"
        ) from error


class _Refusal(click.ClickException):
    def __init__(self, error: UserError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: Any = None) -> None:  # noqa: ARG002 (click's)
        echo(self.message, err=True)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="mrvae-orch")
def cli() -> None:
    """Compare one Multi-Rate VAE with a sweep of β-VAEs: cost and quality.

    \b
    mrvae-orch plan recipes/quickstart.yaml        show what would run and its expected cost
    mrvae-orch submit recipes/quickstart.yaml      run it; run the same command again to resume
    mrvae-orch status quickstart                   show its progress
    mrvae-orch submit my.yaml --address URL        run it on a Ray cluster; then watch, logs, cancel and retry
    mrvae-orch report quickstart --out report/     write the report again
    mrvae-orch ui                                  browse the runs in MLflow
    """


def run() -> None:
    """Run the command line."""
    # A short command makes little but modules and classes, which stay. Searching them for garbage again and again, and
    # once more at the end, took it a quarter of its time.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    cli()


if __name__ == "__main__":
    run()
