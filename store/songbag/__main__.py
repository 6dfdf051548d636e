"""`python -m songbag` is the `songbag` command."""

from songbag_store.cli import main

if __name__ == "__main__":
    main()
