import typer

EXAMPLE = "Example: x"


def command(context: typer.Context) -> None:
    """Placeholder."""
