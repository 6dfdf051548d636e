"""`python -m songbag_store` is the `songbag` command."""

from songbag_store.cli.root import main

if __name__ == "__main__":
    main()
