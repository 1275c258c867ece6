"""`python -m hepcat` is the command `hepcat`."""

from hepcat.cli.main import main

if __name__ == "__main__":
    main()
