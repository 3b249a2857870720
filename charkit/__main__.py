"""Run charkit's command line as ``python -m charkit``."""

import sys


def main() -> None:
    """Run the command line; an interrupt while it is loaded ends it without a traceback."""
    try:
        from charkit.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
