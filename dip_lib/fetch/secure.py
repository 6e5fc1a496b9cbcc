"""Addresses that may be downloaded from: https; plain http where the checksum is known before."""

from __future__ import annotations

from http.client import HTTPResponse
from ipaddress import ip_address
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from dip_lib.errors import InsecureAddressError


def check_address(url: str) -> None:
    """Raise InsecureAddressError where anybody on the way could change the answer: an address that
    is neither https nor of this machine itself."""
    parts = urlsplit(url)
    own = parts.scheme == "file" or (parts.scheme == "http" and _is_here(parts.hostname or ""))
    if parts.scheme != "https" and not own:
        raise InsecureAddressError(url)


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class _Redirects(HTTPRedirectHandler):
    """Follows only to addresses that may be downloaded from."""

    def redirect_request(
        self, request: Request, fp: Any, code: int, message: str, headers: Any, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme in ("http", "https", "ftp"):  # urllib refuses all others
            check_address(newurl)
        return super().redirect_request(request, fp, code, message, headers, newurl)


def opened(request: Request, timeout: float, checked: bool) -> HTTPResponse:
    """The answer to a request, wherever it is redirected to.

    Args:
        timeout: seconds of silence after which the connection counts as dead.
        checked: whether what comes is compared with a checksum that was known before; then plain
            http will do, which some old archives have alone.

    Raises:
        InsecureAddressError: an address, also of a redirect, that :func:`check_address` refuses.
        OSError: as ``urllib.request.urlopen``.
    """
    if checked:
        opener = build_opener()
    else:
        check_address(request.full_url)
        opener = build_opener(_Redirects)
    return cast(HTTPResponse, opener.open(request, timeout=timeout))
