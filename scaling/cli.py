"""The command `scaling`: its commands, and one place where errors become a sentence and an exit code."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Any, NoReturn

import click

from scaling import __version__
from scaling.errors import ScalingError

COMMANDS = {  # name: the function in scaling.commands.<name>, in the order of the help page
    "check": "check",
    "fit": "fit_command",
    "plan": "plan",
    "design": "design",
    "compare": "compare",
    "isoflop": "isoflop",
    "descent": "descent",
    "emergence": "emergence",
    "grokking": "grokking",
    "refit": "refit",
    "report": "report",
    "app": "app",
    "laws": "laws",
    "published": "published",
    "accelerators": "accelerators",
}
EXIT_BAD_INPUT, EXIT_INTERRUPTED = 2, 130


class _Group(click.Group):
    """Imports a command when it is asked for, and turns every error into a sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name, imported now; None where there is none."""
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"scaling.commands.{name}"), COMMANDS[name])
        return command

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and exit: 0, a command's own code, 2 for bad input with one sentence on standard error, 130 when interrupted."""
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
            sys.stdout.flush()
            sys.exit(code if isinstance(code, int) else 0)
        except click.exceptions.Exit as stop:
            sys.exit(stop.exit_code)
        except (click.Abort, KeyboardInterrupt):
            _stop("interrupted.", EXIT_INTERRUPTED)
        except click.ClickException as error:
            _stop(_usage(error), EXIT_BAD_INPUT)
        except ScalingError as error:
            _stop(str(error), EXIT_BAD_INPUT)
        except BrokenPipeError:  # the reader has left, as in `| head`; nothing more may be written, not even at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        except OSError as error:
            where = f" {error.filename!r}" if error.filename else ""
            _stop(f"cannot read or write{where}: {error.strerror or error}.", EXIT_BAD_INPUT)
        except MemoryError:
            _stop("out of memory: use fewer rows (--where) or fewer resamples (--resamples).", EXIT_BAD_INPUT)


def _usage(error: click.ClickException) -> str:
    text = error.format_message()
    if isinstance(error, click.UsageError) and error.ctx is not None:
        text += f" See: {error.ctx.command_path} --help"
    return text


def _stop(message: str, code: int) -> NoReturn:
    with contextlib.suppress(OSError):
        click.echo(f"scaling: error: {message}", err=True)
    sys.exit(code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="scaling")
def main() -> None:
    """Scaling laws from logged training runs, and plans from scaling laws."""
