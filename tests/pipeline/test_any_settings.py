"""Whatever is set, alone or with others, is refused by its key or taken by all that only reads settings."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nascommon.config import Params, load_params
from nascommon.method import REGISTRY
from nascommon.pipeline.birth import settings_of
from nascommon.pipeline.differing import SECTIONS, differing
from nascommon.pipeline.protocol_check import rulings, to_text
from nascommon.pipeline.protocol_evidence import evidence_of
from nascommon.pipeline.run import method_hash, protocol, tracked_params
from nascommon.pipeline.study_facts import facts
from nascommon.report.methods import record
from nascommon.runtime.reading import value_at
from nascommon.settings import Settings, UserError
from tests.any_settings import changes, keys, schema
from tests.report.results import results
from tests.stages.project import SMOKE

PARAMS = load_params(SMOKE)
KEYS = {key for key, _ in keys(schema())}
PYTHON = re.compile(r"<|\bNone\b|\bTrue\b|\bFalse\b|\bnan\b|\binf\b")


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a method and some settings of a run of it, by dotted key."""
    method = draw(st.sampled_from(sorted(REGISTRY)))
    return {"search.method": method, **draw(changes(method))}


@settings(max_examples=60, deadline=None)
@given(runs())
def test_any_settings_are_refused_by_their_keys_or_taken_by_all_that_reads_them(run: dict[str, Any]) -> None:
    try:
        params = PARAMS.changed(run)
    except UserError as refused:
        for line in refused.args:
            key, _, told = line.partition(": ")
            assert re.sub(r"\.\d+", "", key) in KEYS or key.startswith(tuple(run)), line
            assert told
            assert not PYTHON.search(told), line
        return
    is_the_same_when_it_is_read_again(params)
    what_differs_is_told(params)
    assert not PYTHON.search(" ".join(record(params.method()).values()))
    assert to_text(rulings(evidence_of(params, results())))
    assert facts({params.search.method: params}, [params.seed], 1, []).same


def is_the_same_when_it_is_read_again(params: Params) -> None:
    """Whatever names a run, or says of what its files were made, survives a file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "params.yaml")
        file.write_text(params.model_dump_json(), encoding="utf-8")
        again = load_params(file)
    assert again.model_dump() == params.model_dump()
    for name in (protocol, method_hash, tracked_params):
        assert name(again) == name(params)
    born = settings_of("evaluate", params)
    assert json.loads(json.dumps(born)) == settings_of("evaluate", again)


def what_differs_is_told(params: Params) -> None:
    """Each setting that is not the default stands in the report, by itself, with its section, or by what is in it."""
    told = {one["key"]: one for one in differing(params)}
    sections: dict[str, Settings] = {name: getattr(params, name) for name in SECTIONS}
    for prefix, section in {f"methods.{params.search.method}": params.method_settings(), **sections}.items():
        mine = section.model_dump(mode="json")
        for name, field in type(section).model_fields.items():
            if field.is_required() or (prefix, name) == ("search", "nodes"):  # null stands for the space's own
                continue
            usual = section.model_copy(update={name: field.get_default(call_default_factory=True)})
            found = [key for key in told if re.match(rf"{re.escape(prefix)}\.{name}(\.|$)", key)]
            assert bool(found) == (mine[name] != usual.model_dump(mode="json")[name]), (prefix, name, mine[name])
    for key, one in told.items():
        here = value_at(params.model_dump(mode="json"), tuple(key.split(".")))
        assert one["here"] == (here if isinstance(here, str) else json.dumps(here, ensure_ascii=False))
        assert one["here"] != one["default"]
