"""Renew what README shows of the first run: `python results/first-run/renew.py` after `make run`, in the root.

Keeps the report of data/evaluate and its last lines here, and writes them into README.md. With Chromium on the PATH the
picture of the report is taken anew, too.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from nascommon.config import load_params
from nascommon.pipeline.closing import last_lines
from nascommon.pipeline.paths import EVALUATE
from nascommon.pipeline.run import MACHINE
from nascommon.runtime.artefacts import digest, read_json, write_json
from nascommon.runtime.progress import summary_lines
from nascommon.settings import leaves

HERE = Path(__file__).parent
FIGURES, REPORT, PICTURE = HERE / "figures.json", HERE / "report.html", HERE / "report.png"
BEGIN, END = "<!-- first run, by results/first-run/renew.py -->\n", "<!-- end of first run -->\n"


def settings(params: Path) -> str:
    """Return the digest of the settings that decide the figures."""
    tree = load_params(params).model_dump(mode="json")
    return digest({key: value for key, value in leaves(tree) if key not in MACHINE and key != "file"})


def figures() -> dict[str, Any]:
    """Return what came out of the run that lies in data, and where it comes from."""
    title, rows = last_lines()
    born = read_json(EVALUATE / "results.json")["provenance"]
    certificate = {key: born[key] for key in ("commit", "seed", "hardware", "torch")}
    return {"title": title, "rows": rows, "settings": settings(Path("params.yaml")), "born": certificate}


def block(known: dict[str, Any]) -> str:
    """Write the part of README."""
    born = known["born"]
    lines = "\n".join(summary_lines(known["title"], known["rows"])).strip("\n")
    certificate = f"`make run`, commit {born['commit']}, seed {born['seed']}, {born['hardware']}, torch {born['torch']}"
    return f"{BEGIN}```\n{lines}\n```\n\n{certificate}.\n{END}"


def with_block(readme: str, known: dict[str, Any]) -> str:
    """Return README with the part renewed."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + block(known) + after


def take_picture() -> None:
    """Take a picture of the first screen of the report, where Chromium is installed."""
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
    if browser is None:
        print("no Chromium on the PATH: report.png stays as it was")
        return
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
        place = [f"--user-data-dir={profile}", "--window-size=1400,1150", f"--screenshot={PICTURE.absolute()}"]
        subprocess.run([browser, *options, *place, REPORT.absolute().as_uri()], check=True, capture_output=True)


def main() -> None:
    """Renew figures, report, picture and README."""
    known = figures()
    write_json(FIGURES, known)
    shutil.copyfile(EVALUATE / "report.html", REPORT)
    take_picture()
    readme = Path("README.md")
    readme.write_text(with_block(readme.read_text(encoding="utf-8"), known), encoding="utf-8")
    print(json.dumps(known["rows"], indent=2))


if __name__ == "__main__":
    main()
