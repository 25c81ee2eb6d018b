"""Sealing: every layer is in the file, other people's readers agree, and a changed byte shows."""

import json
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import c2pa_text as reference
import encypher_c2pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spearhead.core import media
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.media import Label, Media
from spearhead.provenance import seal, signing
from spearhead.provenance.labels import c2pa_text, gb45438
from spearhead.provenance.signer import Signer
from spearhead.provenance.verify import holds, verify
from spearhead.store.home import Home

LABEL = Label("演示 maker", "out-1", "modern-english@1", "2026-11-22T02:00:00Z")
WORDS = "The spirit of a man will sustain him. 你好，世界。 cafe\u0301"


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    folder = tmp_path_factory.mktemp("home")
    return Signer(signing.ensure(Home(folder, folder)))


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second reader sends nothing."""
    monkeypatch.setenv("ENCYPHER_C2PA_TELEMETRY", "off")
    monkeypatch.setenv("ENCYPHER_C2PA_ONLINE", "off")


def second_reader(data: bytes, mime: str = "text/plain") -> dict[str, Any]:
    report: dict[str, Any] = dict(encypher_c2pa.verify(data, mime, online=False))
    return report


@pytest.mark.parametrize("mime", ["text/plain", "text/markdown"])
def test_a_sealed_file_carries_every_layer(signer: Signer, mime: str) -> None:
    sealed = seal.seal(media.text(WORDS, mime=mime), LABEL, signer=signer)
    seen = seal.read(sealed)
    assert seen.visible and seen.implicit and seen.implicit.intact and seen.implicit.problems == ()
    assert (seen.implicit.producer, seen.implicit.produce_id) == ("演示 maker", "out-1")
    assert seen.c2pa and (seen.c2pa.state, seen.c2pa.failures) == ("Valid", ("signingCredential.untrusted",))
    assert (seen.c2pa.release, seen.c2pa.produce_id, seen.c2pa.created) == (
        "modern-english@1",
        "out-1",
        "2026-11-22T02:00:00Z",
    )
    assert seen.c2pa.digital_source_type.endswith("/trainedAlgorithmicMedia")
    assert seen.c2pa.generator.startswith("spearhead ")
    assert set(seen.c2pa.training.values()) == {"notAllowed"} and len(seen.c2pa.training) == 4
    visible = c2pa_text.without(sealed.text)
    assert unicodedata.normalize("NFC", WORDS) in visible and visible.startswith("---\nAIGC:\n")


@pytest.mark.parametrize("mime", ["text/plain", "text/markdown"])
def test_a_second_implementation_finds_the_same(signer: Signer, mime: str) -> None:
    sealed = seal.seal(media.text(WORDS, mime=mime), LABEL, signer=signer)
    report = second_reader(sealed.data)
    assert (report["integrity"], report["signature"], report["hard_binding"]) == ("valid", "valid", "match")
    assert [failure["code"] for failure in report["validation_results"]["failure"]] == ["signingCredential.untrusted"]
    changed = second_reader(sealed.data.replace(b"spirit", b"spirlt"))
    assert changed["hard_binding"] == "mismatch"


def test_the_wrapper_is_that_of_the_reference_library(signer: Signer) -> None:
    sealed = c2pa_text.embed(media.text(WORDS), LABEL, signer=signer)
    found, clean = reference.extract_manifest(sealed.text)
    assert found is not None and clean == unicodedata.normalize("NFC", WORDS)
    room = reference.worst_case_wrapper_byte_length(len(found))
    assert c2pa_text.wrap(found) == reference.encode_wrapper_padded(found, room)
    place = c2pa_text.find(sealed.text)
    assert place is not None and place[0] == found
    assert reference.validate_manifest(found).valid


@given(store=st.binary(max_size=300))
def test_any_store_comes_back_out_of_its_wrapper(store: bytes) -> None:
    text = "words" + c2pa_text.wrap(store)
    place = c2pa_text.find(text)
    assert place is not None and place[0] == store
    assert c2pa_text.without(text) == "words"
    assert c2pa_text.wrap(store) == reference.encode_wrapper_padded(
        store, reference.worst_case_wrapper_byte_length(len(store))
    )


def test_every_changed_byte_of_the_words_shows(signer: Signer) -> None:
    sealed = seal.seal(media.text("And so."), LABEL, signer=signer)
    words = len(c2pa_text.without(sealed.text).encode())
    for place in range(0, words, 3):
        data = bytearray(sealed.data)
        data[place] ^= 0x01
        try:
            bytes(data).decode()
        except UnicodeDecodeError:
            continue
        seen = seal.read(Media("text", "text/plain", bytes(data)))
        assert seen.c2pa and not seen.c2pa.valid and "assertion.dataHash.mismatch" in seen.c2pa.failures, place


def test_a_changed_manifest_shows(signer: Signer) -> None:
    sealed = c2pa_text.embed(media.text("And so."), LABEL, signer=signer)
    place = c2pa_text.find(sealed.text)
    assert place
    for old, new in ((b"modern-english@1", b"modern-english@2"), (b"out-1", b"out-2")):
        forged = "And so." + c2pa_text.wrap(place[0].replace(old, new))
        seen = c2pa_text.read(media.text(forged))
        assert seen and not seen.valid


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_manifest_with_a_flipped_bit_is_read_without_error(signer: Signer, place: int, bit: int) -> None:
    sealed = c2pa_text.embed(media.text("And so."), LABEL, signer=signer)
    found = c2pa_text.find(sealed.text)
    assert found
    store = bytearray(found[0])
    store[place % len(store)] ^= 1 << bit
    seen = c2pa_text.read(media.text("And so." + c2pa_text.wrap(bytes(store))))
    # The signature's padding and some box headers are bound by nothing; what the manifest says is.
    assert seen is None or not seen.valid or (seen.release, seen.produce_id) == (LABEL.release, LABEL.produce_id)


def test_a_manifest_of_another_text_does_not_fit(signer: Signer) -> None:
    sealed = c2pa_text.embed(media.text("And so."), LABEL, signer=signer)
    wrapper = sealed.text.removeprefix("And so.")
    for text in (f"And no.{wrapper}", f"{wrapper}And so.", f"And {wrapper}so.", f"And so.{wrapper} And more."):
        seen = c2pa_text.read(media.text(text))
        assert seen and not seen.valid, text[:20]


def test_two_manifests_count_as_none(signer: Signer) -> None:
    sealed = c2pa_text.embed(media.text("And so."), LABEL, signer=signer).text
    seen = c2pa_text.read(media.text(sealed + " " + sealed))
    assert seen and seen.failures == ("manifest.multiple",)


def test_sealing_again_replaces_every_layer(signer: Signer) -> None:
    once = seal.seal(media.text(WORDS), LABEL, signer=signer)
    other = Label("maker", "out-2", "modern-english@2", LABEL.created)
    twice = seal.seal(once, other, signer=signer)
    seen = seal.read(twice)
    assert seen.c2pa and (seen.c2pa.release, seen.c2pa.valid) == ("modern-english@2", True)
    assert seen.implicit and seen.implicit.produce_id == "out-2"
    assert twice.text.count("AIGC:") == 1 and twice.text.count("AI-generated") == 1


def test_a_copy_without_the_visible_mark_carries_the_others(signer: Signer) -> None:
    label = Label("maker", "out-1", "s@1", LABEL.created, visible=False)
    sealed = seal.seal(media.text(WORDS), label, signer=signer)
    seen = seal.read(sealed)
    assert not seen.visible and seen.implicit and seen.c2pa and seen.c2pa.valid


def test_a_decomposed_copy_still_verifies(signer: Signer) -> None:
    sealed = seal.seal(media.text(WORDS), LABEL, signer=signer)
    copy = unicodedata.normalize("NFD", sealed.text).encode()
    assert copy != sealed.data
    assert holds(verify(copy))


def test_a_file_whose_labels_do_not_read_back_is_not_released(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gb45438, "embed", lambda piece, label: piece)
    with pytest.raises(SpearheadError, match="no implicit label"):
        seal.seal(media.text(WORDS), LABEL, signer=signer)


def test_stripping_the_signature_leaves_the_implicit_label_and_is_said(signer: Signer) -> None:
    sealed = seal.seal(media.text(WORDS), LABEL, signer=signer)
    layers = {layer.name: layer.state for layer in verify(c2pa_text.without(sealed.text).encode())}
    assert layers == {"c2pa": "absent", "gb45438": "valid", "visible": "valid"}


def test_verify_names_every_layer_of_a_changed_file(signer: Signer) -> None:
    sealed = seal.seal(media.text(WORDS), LABEL, signer=signer)
    layers = verify(sealed.data.replace(b"spirit", b"spirlt"))
    assert {layer.name: layer.state for layer in layers} == {
        "c2pa": "invalid",
        "gb45438": "invalid",
        "visible": "valid",
    }
    assert not holds(layers) and holds(verify(sealed.data)) and not holds(verify(b"plain words"))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(text=st.text(max_size=80))
def test_any_text_can_be_sealed(signer: Signer, text: str) -> None:
    sealed = seal.seal(media.text(text), LABEL, signer=signer)
    assert holds(verify(sealed.data))
    assert second_reader(sealed.data)["hard_binding"] == "match"


@settings(max_examples=100, deadline=None)
@given(data=st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda b: c2pa_text.wrap(b).encode())))
def test_anything_can_be_verified(data: bytes) -> None:
    assert not any(layer.state == "valid" for layer in verify(data) if layer.name == "c2pa")


def test_threads_share_a_signer(signer: Signer) -> None:
    texts = [f"text number {number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        sealed = list(pool.map(lambda text: seal.seal(media.text(text), LABEL, signer=signer), texts))
    assert all(text in piece.text for text, piece in zip(texts, sealed, strict=True))


def test_what_others_may_do_with_it_is_written_as_asked(signer: Signer) -> None:
    seen = seal.read(seal.seal(media.text(WORDS), LABEL, signer=signer, training="allowed"))
    assert seen.c2pa and set(seen.c2pa.training.values()) == {"allowed"}
    with pytest.raises(InputError, match="wanted allowed"):
        seal.seal(media.text(WORDS), LABEL, signer=signer, training="maybe")


def test_keys_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    one = signing.ensure(Home(tmp_path / "a", tmp_path))
    with pytest.raises(SpearheadError, match="cannot be used"):
        Signer(signing.Keys(one.chain, b"no key", one.release, one.public))


def test_a_report_can_be_written_as_json(signer: Signer) -> None:
    import dataclasses

    seen = seal.read(seal.seal(media.text(WORDS), LABEL, signer=signer))
    assert json.loads(json.dumps(dataclasses.asdict(seen)))["visible"] is True
