from __future__ import annotations

import json

import click

from orchestrator.terminal import echo


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of a spec, for editors that complete and check YAML.

    \b
    mrvae-orch schema > mrvae.schema.json
    # yaml-language-server: $schema=mrvae.schema.json      first line of a spec
    """
    from orchestrator.spec.model import json_schema

    echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
