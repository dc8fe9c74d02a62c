"""The Ray of this process, which the submits within it share: its head takes seconds to start."""

from __future__ import annotations

from contextlib import ExitStack


class LocalRay:
    """Started by the first submit that needs it, and ended for a test that connects this process to another Ray."""

    def __init__(self) -> None:
        self._held = ExitStack()

    def start(self) -> None:
        # Not above: this module has to be what imports Ray first.
        from orchestrator.execution import ray_cluster

        if not ray_cluster.is_connected():
            forget_token()
            self._held.enter_context(ray_cluster.local_ray())

    def end(self) -> None:
        self._held.close()
        forget_token()


def forget_token() -> None:
    """Make Ray read its token again, which it does once a process, and this one's Rays have one each."""
    from orchestrator.execution import ray_cluster  # noqa: F401 (before Ray, which reads what it sets)

    # isort: split
    from ray._raylet import AuthenticationTokenLoader, Config

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
