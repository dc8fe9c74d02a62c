"""`mrvae-orch`: the command group. Commands are imported when they run, so that `--help` is quick."""

from __future__ import annotations

import importlib
from typing import Any

import click

from orchestrator.errors import UserError, as_user_error

COMMANDS = {
    "submit": "train what is left of a sweep and report on it",
    "plan": "show the trials of a spec and what they would cost",
    "status": "show what is done, running, failed and left",
    "list": "list the sweeps of a store, and those that a cluster runs",
    "watch": "follow a sweep that runs elsewhere",
    "logs": "print what a sweep or one of its trials said",
    "cancel": "stop a sweep, or trials of it",
    "retry": "try anew what failed or was cancelled",
    "report": "write the report of a sweep again",
    "compare": "compare sweeps of several datasets or architectures",
    "evaluate": "measure finished trials again, without training",
    "check": "check a sweep against published or recorded curves",
    "record": "record a sweep as a reference to check against",
    "sync": "forward to MLflow what is not there yet",
    "ui": "open MLflow on the store",
    "data": "list, fetch and check datasets",
    "doctor": "check this machine, the store and the tracking server",
    "schema": "print the JSON Schema of a spec, for editors",
    "completion": "print the shell's completion script",
}


class CommandGroup(click.Group):
    """Imports a command when it is asked for, and turns known errors into one message and exit code 2."""

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
            near = importlib.import_module("difflib").get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(COMMANDS)}"
            ctx.fail(f"no command {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what a user can mend ends in one message and exit code 2."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(130)
        except Exception as error:
            known = as_user_error(error)
            if known is None:
                raise
            raise _Refusal(known) from error


class _Refusal(click.ClickException):
    def __init__(self, error: UserError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: Any = None) -> None:  # noqa: ARG002 (click's)
        click.echo(self.message, err=True)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="mrvae-orch")
def cli() -> None:
    """Compare one Multi-Rate VAE with a sweep of β-VAEs, fairly and at equal compute.

    \b
    mrvae-orch plan recipes/quickstart.yaml        what would run, and at what cost
    mrvae-orch submit recipes/quickstart.yaml      run it; the same command again goes on where it stopped
    mrvae-orch status quickstart                   how it stands
    mrvae-orch submit my.yaml --address URL        run it on a Ray cluster; then watch, logs, cancel and retry
    mrvae-orch report quickstart --out report/     the report, again
    mrvae-orch ui                                  browse the runs in MLflow
    """


def run() -> None:
    """Run the command line."""
    cli()


if __name__ == "__main__":
    run()
