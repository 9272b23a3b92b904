"""`python -m aalearn` is the same as `aalearn`."""

from aalearn.cli.main import main

if __name__ == "__main__":
    main()
