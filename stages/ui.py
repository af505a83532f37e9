"""Show the tracked runs in the browser, beside each other."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from nascommon.config import load_params
from nascommon.runtime.home import home
from nascommon.tracking.page import served
from stages.cli import PARAMS, ParamsFile, run_stage

Opening = Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")]


def main(params: ParamsFile = PARAMS, show: Opening = True) -> None:
    """Serve MLflow's pages to this machine alone, print the address that compares all runs, and open it.

    The port is 5000, or a free one where that is taken. Ctrl-C ends it.
    """
    with served(load_params(params).tracking, home()) as page:
        print(f"\n  {page.address}\n\n{page.shows}; Ctrl-C ends it", flush=True)
        if show:
            webbrowser.open(page.address)
        if page.server is not None:
            page.server.wait()


if __name__ == "__main__":
    run_stage(main)
