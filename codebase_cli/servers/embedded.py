"""The server of this machine: whether it runs, its start and its end."""

import asyncio
from pathlib import Path
from typing import Any

from codebase_cli.exits import CommandFailed, NoServer
from codebase_cli.output.console import remark
from codebase_cli.servers.endpoint import Endpoint
from codebase_embedded import instance
from codebase_embedded.instance import Instance, InstanceFailed
from codebase_embedded.settings import Settings, SettingsInvalid, data_folder


def running(data: Path | None = None) -> Instance | None:
    """Return the instance of a data folder, else of this user's, or None when none runs."""
    return instance.find(data or data_folder())


def endpoint_of(found: Instance) -> Endpoint:
    """Return where an instance answers. Raises NoServer when its token cannot be read."""
    try:
        token = found.token()
    except OSError as error:
        raise NoServer(
            f"the token of the embedded server cannot be read ({error}); it is its owner's alone: is the server "
            "another user's, or CODEBASE_DATA wrong?"
        ) from error
    name = f"the embedded server of this machine (process {found.pid})"
    return Endpoint(found.url, name, token, database_url_file=found.database_url_file)


async def started(settings: Settings | None = None) -> Endpoint:
    """Return where the instance answers; one is started in the background if none runs. Raises NoServer."""
    try:
        found = await asyncio.to_thread(instance.ensure, settings or settings_of(), notify=remark)
    except InstanceFailed as error:
        raise NoServer(str(error)) from error
    return endpoint_of(found)


def settings_of(**given: Any) -> Settings:
    """Return the settings of an instance: what is given, else the environment's. Raises CommandFailed."""
    try:
        return Settings.from_env(**given)
    except SettingsInvalid as error:
        raise CommandFailed(str(error)) from error


def stop(data: Path | None = None) -> bool:
    """End the instance of this user. False when none runs. Raises CommandFailed."""
    try:
        return instance.stop(data or data_folder())
    except InstanceFailed as error:
        raise CommandFailed(str(error)) from error
