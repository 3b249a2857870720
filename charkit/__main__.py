"""Run charkit's command line as ``python -m charkit``."""

from charkit.cli.app import main

if __name__ == "__main__":
    main()
