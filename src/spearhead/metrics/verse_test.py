"""Form, rhyme and tones of quatrains, worked by hand on poems that everyone knows."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from spearhead.core.errors import InputError
from spearhead.core.media import text
from spearhead.core.record import Record
from spearhead.core.rights import Licence, Right
from spearhead.core.score import Case
from spearhead.metrics import pingshui
from spearhead.metrics.copied_lines import METRIC as COPIED
from spearhead.metrics.evaluate import evaluate
from spearhead.metrics.line_form import METRIC as FORM
from spearhead.metrics.pingshui import Table
from spearhead.metrics.rhyme import METRIC as UNBOUND
from spearhead.metrics.rhyme import Rhyme
from spearhead.metrics.setting import Setting
from spearhead.metrics.tonal_pattern import TonalPattern
from spearhead.store.home import Home

TOWER = "白日依山尽，黄河入海流。\n欲穷千里目，更上一层楼。"
BOAT = "朝辞白帝彩云间，千里江陵一日还。\n两岸猿声啼不住，轻舟已过万重山。"


@pytest.fixture(scope="module")
def table() -> Table:
    """The characters of the first poem where the dictionary has them, in the traditional forms that it has."""
    raw = {
        "ping": {
            "上平聲部": {"上平聲一東": ["Public domain 窮"], "上平聲五微": ["依"], "上平聲十五刪": ["山"]},
            "下平聲部": {
                "下平聲十一尤": ["流樓"],
                "下平聲一先": ["千"],
                "下平聲七陽": ["黃"],
                "下平聲十蒸": ["層"],
                "下平聲五歌": ["河"],
            },  # fmt: skip
        },
        "ze": {
            "上聲部": {"上聲四紙": ["里"], "上聲十賄": ["海"], "上聲十一軫": ["盡"]},
            "去聲部": {"去聲二十三漾": ["上"], "去聲二十四敬": ["更"]},
            "入聲部": {
                "入聲十一陌": ["白"],
                "入聲四質": ["日一"],
                "入聲十四緝": ["入"],
                "入聲二沃": ["欲"],
                "入聲一屋": ["目"],
            },
        },
    }
    return pingshui.parse(json.dumps(raw).encode())


def value(metric: object, outputs: Sequence[str]) -> float:
    [score] = evaluate([Case(None, text(one), None) for one in outputs], [metric], seed=0, draws=10)  # type: ignore[list-item]
    return score.value


@pytest.mark.parametrize(
    "poem", [TOWER, BOAT, "白日依山尽\n黄河入海流\n欲穷千里目\n更上一层楼", TOWER.replace("\n", "")]
)
def test_a_quatrain_is_in_form_however_it_is_set(poem: str) -> None:
    assert value(FORM, [poem]) == 100


@pytest.mark.parametrize(
    "poem",
    ["", TOWER + "多一句诗呢", TOWER.replace("尽", ""), "白日依山尽，黄河入海流。", TOWER.replace("白", "a"), "山" * 20,
     BOAT[:16] + "\n" + TOWER[:12], "白日依山，黄河入海。\n欲穷千里，更上一层。"],
)  # fmt: skip
def test_anything_else_is_not(poem: str) -> None:
    assert value(FORM, [poem]) == 0


def test_flow_and_tower_rhyme_and_flow_does_not_rhyme_with_itself(table: Table) -> None:
    assert table.rhyme("流", "楼") and table.rhyme("流", "樓"), "both scripts"
    assert not table.rhyme("流", "流") and not table.rhyme("流", "山") and not table.rhyme("流", "凸")
    same = TOWER.replace("楼", "流")
    other = TOWER.replace("楼", "山")
    prose = "我们今天去公园玩，天气很好。"
    assert value(Rhyme(table), [TOWER, same, other, prose]) == 25


def test_a_regulated_poem_keeps_every_rule_and_each_broken_one_counts(table: Table) -> None:
    # 4 lines alternate once, 2 couplets at 2 places, 1 agreement, 3 ends: 12 rules
    assert value(TonalPattern(table), [TOWER]) == 100
    broken = TOWER.replace("楼", "目")  # the last rhyme oblique
    assert value(TonalPattern(table), [broken]) == pytest.approx(100 * 11 / 12)
    swapped = "黄河入海流，白日依山尽。\n欲穷千里目，更上一层楼。"  # the agreement breaks, and the second line's end
    assert value(TonalPattern(table), [swapped]) == pytest.approx(100 * 10 / 12)
    assert value(TonalPattern(table), ["words"]) == 0


def test_unknown_characters_may_have_any_tone_but_do_not_rhyme(table: Table) -> None:
    unknown = "\n".join(["凸凹凸凹凸"] * 4)
    assert value(TonalPattern(table), [unknown]) == 100 and value(Rhyme(table), [unknown]) == 0


def test_lines_that_stand_in_the_training_data_are_counted(tmp_path: Path) -> None:
    licence = Licence("CC0-1.0", Right.TRAIN, "")
    learnt = [Record({"input": text("登鹳雀楼"), "output": text(TOWER)}, licence, "x")]
    setting = Setting(Home(tmp_path, tmp_path), lambda: learnt, "ab" * 32)
    metric = COPIED.bind(setting)
    half = "白日依山尽，长江入海流。\n欲穷千里目，再上一层楼。"
    assert value(metric, [TOWER]) == 100 and value(metric, [half]) == 50 and value(metric, [BOAT]) == 0
    assert value(metric, [TOWER, BOAT]) == 50 and value(metric, ["", "短句"]) == 0
    assert "training:abababab" in metric.signature


def test_a_metric_without_its_data_says_so_and_another_file_is_no_table() -> None:
    with pytest.raises(InputError, match="rhyme needs the data"):
        value(UNBOUND, [TOWER])
    for data in (b"[]", b"{", b'{"ping": {}}', b'{"ping": {"a": 3}, "ze": {}}'):
        with pytest.raises(InputError, match="not the table of rhymes"):
            pingshui.parse(data)
