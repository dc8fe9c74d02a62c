from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from orchestrator.terminal import echo


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that completes commands, sweeps and trials in a shell.

    \b
    eval "$(mrvae-orch completion bash)"
    mrvae-orch completion fish > ~/.config/fish/completions/mrvae-orch.fish
    """
    completer = get_completion_class(shell)
    if completer is None:
        raise click.ClickException(f"there is no completion for {shell}")
    echo(completer(context.find_root().command, {}, "mrvae-orch", "_MRVAE_ORCH_COMPLETE").source())
