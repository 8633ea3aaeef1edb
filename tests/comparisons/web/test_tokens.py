"""The colours of base.css, read from the file: contrast on every ground, A and B alike, no drift."""

import re
from pathlib import Path

import pytest

CSS = (Path(__file__).parents[3] / "labelapp/static/labelapp/css/base.css").read_text()
PAIRS = dict(re.findall(r"--([\w-]+):\s*light-dark\((#\w{6},#\w{6})\)", CSS))
LIGHT, DARK = ({name: pair.split(",")[side] for name, pair in PAIRS.items()} for side in (0, 1))
NEEDS = [
    *[("ink", ground, 4.5) for ground in ("bg", "surface", "quiet", "a-tint", "b-tint", "attn")],
    *[("muted", ground, 4.5) for ground in ("bg", "surface", "quiet", "attn")],
    *[("accent", ground, 4.5) for ground in ("bg", "surface", "quiet", "a-tint", "b-tint")],
    ("a", "surface", 4.5), ("a", "a-tint", 4.5), ("b", "surface", 4.5), ("b", "b-tint", 4.5),
    ("ok", "surface", 4.5), ("danger", "surface", 4.5), ("danger", "danger-tint", 4.5),
    ("ink", "danger-tint", 4.5), ("on-ink", "ink", 4.5), ("on-ink", "a", 4.5), ("on-ink", "b", 4.5),
    *[("control", ground, 3.0) for ground in ("bg", "surface", "quiet", "attn")],
    *[(f"c{number}", "surface", 3.0) for number in range(1, 7)],
]  # fmt: skip


def luminance(colour: str) -> float:
    channels = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(two)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_of_black_on_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "ground", "need"), NEEDS)
def test_every_pair_has_its_contrast(theme, ink, ground, need):
    assert contrast(theme[ink], theme[ground]) >= need


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("grounds", [("surface", "surface"), ("a-tint", "b-tint")])
def test_a_and_b_weigh_the_same(theme, grounds):
    a, b = contrast(theme["a"], theme[grounds[0]]), contrast(theme["b"], theme[grounds[1]])

    assert a == pytest.approx(b, rel=0.03)


def test_old_browsers_get_the_light_values():
    fallback = re.search(r"@supports not \(color:light-dark.*?\{:root\{(.*?)\}\}", CSS, re.DOTALL)[
        1
    ]

    assert dict(re.findall(r"--([\w-]+):(#\w{6})", fallback)) == LIGHT
