"""Talking to a device that runs our firmware, real or emulated: a link carries bytes, the protocol requests."""

from .link import Link, LinkError, ProcessLink, SerialLink, SocketLink, open_link
from .protocol import Device, DeviceError, DeviceTimeoutError, DigestError, Hello, RefusedError, RestartedError

__all__ = [
    "Device",
    "DeviceError",
    "DeviceTimeoutError",
    "DigestError",
    "Hello",
    "Link",
    "LinkError",
    "ProcessLink",
    "RefusedError",
    "RestartedError",
    "SerialLink",
    "SocketLink",
    "open_link",
]
