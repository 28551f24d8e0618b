"""The command line. Each command lives in its own module and is imported only when it is called."""

import sys
from importlib import import_module

import click

from commerce.kernel.settings import OperatorError

COMMANDS = {
    "run": "api.supervisor:command",
    "demo": "api.demo:command",
    "audit": "api.audit:command",
    "migrate": "api.migrate:command",
    "backup": "api.backup:backup_command",
    "restore": "api.backup:restore_command",
    "import": "api.import_command:command",
    "keys": "api.key_commands:keys",
    "outbox": "api.outbox_command:command",
}
"""Name -> where it is."""


class Commands(click.Group):
    """A group that knows its commands by name only."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None when there is no such name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=Commands)
@click.version_option(package_name="mostrador")
def commands() -> None:
    """Mostrador, a unified commerce backend: one inventory and order service for web and tills."""


def main() -> None:
    """Run a command; what the operator has to change is one sentence, not a traceback."""
    try:
        commands(prog_name="mostrador")
    except OperatorError as refused:
        click.echo(f"mostrador: {refused}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
