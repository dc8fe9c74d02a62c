from __future__ import annotations

import json

import click


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of a spec, for editors that complete and check YAML.

    \b
    mrvae-orch schema > mrvae.schema.json
    # yaml-language-server: $schema=mrvae.schema.json      first line of a spec
    """
    from orchestrator.spec import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
