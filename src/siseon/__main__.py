"""`python -m siseon` is `siseon`."""

from siseon.cli import main

if __name__ == "__main__":
    main()
