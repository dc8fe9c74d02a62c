"""The network interface for gloo: the one towards rank 0."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_GET_INTERFACE_ADDRESS = 0x8915
"""SIOCGIFADDR of Linux."""


@contextlib.contextmanager
def gloo_interface_towards(host: str) -> Iterator[None]:
    """Have gloo use the network that leads to a host, unless the environment names one.

    By default gloo resolves the machine's own name, which is often a loopback address that no other machine reaches.
    """
    interface = None if "GLOO_SOCKET_IFNAME" in os.environ else _interface_towards(host)
    if interface is None:
        yield
        return
    os.environ["GLOO_SOCKET_IFNAME"] = interface
    try:
        yield
    finally:
        del os.environ["GLOO_SOCKET_IFNAME"]


def _interface_towards(host: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))  # sends nothing
        except OSError:
            return None
        own = socket.inet_aton(probe.getsockname()[0])
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            with contextlib.suppress(OSError):  # an interface without an address
                if fcntl.ioctl(probe.fileno(), _GET_INTERFACE_ADDRESS, request)[20:24] == own:
                    return name
    return None
