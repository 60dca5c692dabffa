"""Apprise: a message to mail, Slack, Teams and a hundred more."""

from __future__ import annotations

import logging

from mlops_glue.errors import MissingExtra, ToolError


def send(url: str, title: str, body: str) -> None:
    """Send a message to one channel. The URL contains secrets, so no error quotes it.

    Raises:
        MissingExtra: Apprise is not installed.
        ToolError: the message could not be sent.
    """
    try:
        import apprise
    except ImportError as error:
        raise MissingExtra("apprise", "alerts") from error
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it logs the URLs that it sends to
    channel = apprise.Apprise()
    if not channel.add(url):
        raise ToolError("not a URL that Apprise supports", hint="https://github.com/caronc/apprise/wiki")
    if not channel.notify(title=title, body=body):
        raise ToolError("did not accept the message")
