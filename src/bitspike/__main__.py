"""`python -m bitspike` is the command `bitspike`."""

from bitspike.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
