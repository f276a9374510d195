"""`python -m logomesh_client` is the command `logomesh`."""

from logomesh_client.cli import main

if __name__ == "__main__":
    main()
