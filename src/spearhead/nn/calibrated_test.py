"""Calibrated rounding: less error where the inputs are, no more than plain rounding where they say nothing."""

import numpy as np
import pytest

from spearhead.core.errors import InputError
from spearhead.nn import calibrated, weight_layouts


def _read(data: weight_layouts.Array, layout: str, shape: tuple[int, int]) -> weight_layouts.Array:
    return weight_layouts.decode(data, layout=layout, shape=shape)


@pytest.mark.parametrize("layout", sorted(calibrated.BITS))
def test_what_a_layer_says_of_its_inputs_changes_less(layout: str) -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(48, 128)).astype(np.float32)
    mixing = generator.normal(size=(12, 128))  # inputs lie near twelve directions
    learn, held = (
        (generator.normal(size=(n, 12)) @ mixing + 0.1 * generator.normal(size=(n, 128))).astype(np.float32)
        for n in (2000, 500)
    )
    moments = learn.T @ learn / len(learn)
    ours = _read(calibrated.encode(values, layout=layout, moments=moments), layout, (48, 128))
    plain = _read(weight_layouts.encode(values, layout=layout), layout, (48, 128))
    assert np.square(held @ (ours - values).T).mean() < 0.2 * np.square(held @ (plain - values).T).mean()


def test_inputs_without_structure_leave_plain_rounding() -> None:
    values = np.random.default_rng(1).normal(size=(16, 64)).astype(np.float32)
    values[3, :32] = 0
    ours = _read(calibrated.encode(values, layout="Q4_0", moments=np.eye(64)), "Q4_0", (16, 64))
    plain = _read(weight_layouts.encode(values, layout="Q4_0"), "Q4_0", (16, 64))
    assert np.square(ours - values).sum() == pytest.approx(np.square(plain - values).sum(), rel=0.01)
    assert (ours[3, :32] == 0).all()


def test_the_triangular_inverse_is_numpys() -> None:
    generator = np.random.default_rng(2)
    lower = np.tril(generator.normal(size=(150, 150))) / 20 + np.eye(150)
    np.testing.assert_allclose(calibrated._inverse(lower), np.linalg.inv(lower), atol=1e-10)


def test_moments_that_do_not_fit_are_refused() -> None:
    values = np.ones((4, 32), np.float32)
    for moments in (np.eye(31), np.full((32, 32), np.nan)):
        with pytest.raises(InputError, match="calibration: moments"):
            calibrated.encode(values, layout="Q4_0", moments=moments)
    unseen = calibrated.encode(values, layout="Q4_0", moments=np.zeros((32, 32)))
    np.testing.assert_allclose(_read(unseen, "Q4_0", (4, 32)), values, rtol=1e-2)
