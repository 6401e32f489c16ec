"""Personal data: masked by kind in both languages, look-alikes left, nothing else touched, masked once."""

import gzip
import json
import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from xmodel_core.artifacts import Store
from xmodel_core.corpus.mask.kinds import KINDS, PLACEHOLDERS, Kind, MaskConfig
from xmodel_core.corpus.mask.masking import mask
from xmodel_core.sample_world import stage
from xmodel_core.sample_world.config import SampleWorldConfig

# Numbers that satisfy their check digits and belong to nobody: published test cards, and invented persons.
IDENTITY, IDENTITY_X = "440305199003071236", "11010519491231002X"
CARD, CARD_19 = "4111111111111111", "6222021200003456782"

PERSONAL: dict[Kind, list[str]] = {
    "email": [
        "Write to a.b+c@mail.example.com.",
        "来信请寄liwei@163.com。",
        "发到zhang_san@sina.com.cn找我",
        "邮箱：ｌｉｗｅｉ＠ｑｑ．ｃｏｍ",
        "QQ邮箱：jane@qq.com",
        "jane [at] example [dot] org",
        "Author: Jane Doe <jane at example.org>",
        "escribe a josé@correo.es",
    ],
    "ip": [
        "来自58.23.1.2的请求",
        "http://47.100.3.9/x",
        "ping 8.8.8.8",
        "IP地址：１１４．２５．３．９",
        "|112.80.248.75|",
        "at 2400:3200::1:1 now",
        "240e:1:2:3:4:5:6:7",
    ],
    "phone": [
        "我的号码13812345678。",
        "手机138 1234 5678",
        "+86 138-1234-5678",
        "0086 13812345678",
        "（+86）13812345678",
        "8613812345678",
        "１３８－１２３４－５６７８",
        "tel13812345678",
        "<td>13333333333</td>",
        "电话010-88886666",
        "（0571）8888 6666",
        "0755-88886666-8001",
        "+86 (0)10 8888 6666",
        "电话：88886666",
        "传真01088886666",
        "热线400-6501-888",
        "(415) 555-2671",
        "call 415-555-2671 today",
        "1-800-555-0199",
        "+14155552671",
        "+44 20 7183 8750",
        "+852 2345 6789",
        "Phone: 555-2671",
        "fax 020 7183 8750",
    ],
    "id_number": [
        f"身份证号：{IDENTITY}",
        f"她的号码{IDENTITY_X.lower()}，",
        f"ID {IDENTITY[:6]} {IDENTITY[6:14]} {IDENTITY[14:]}",
        "证件：４４０３０５１９９００３０７１２３６",
        "居民身份证号码：130503670401001",
    ],
    "bank_card": [
        f"卡号：{CARD_19}",
        f"汇到{CARD_19}吧",
        "Visa 4111-1111-1111-1111",
        "6222 0212 0000 3456 782",
        "card 378282246310005",
        "3782 822463 10005",
    ],
    "wechat": [
        "微信号：zhangsan",
        "加微信abc_123",
        "微信：wxid_abc123def",
        "VX:abc12345",
        "ＶＸ：ａｂｃ１２３",
        "加v：hello123",
        "微信号：123456789",
        "WeChat ID: john_smith",
        "my WeChat is johnny88",
    ],
    "qq": [
        "QQ：12345678",
        "ＱＱ：１２３４５６７８",
        "QQ交流群 123456789",
        "Q群123456789",
        "扣扣12345678",
        "加Q12345678",
        "QQ号是12345678",
        "QQ number 12345678",
    ],
}
# The same, as input methods, typesetting and copies from pages write it.
OTHER_FORMS: dict[Kind, list[str]] = {
    "email": [
        "用户@例子.公司",
        "请寄到李小明@商店.中国，谢谢",
        "write user@中文.com today",
        "ｚｈａｎｇ＠例子．网络",
        "客服邮箱kefu@例子。香港。",
        "来信wang﹫部门.例子。公司的同事",
        "liwei@163。com。",
        "张三.li@例子.中国",
        "客服邮箱kefu@部门.例子.中国更新内容",
        "用户@xn--fsqu00a.xn--55qx5d",
        "почта@пример.рф",
        "info@müller.de",
        "li\u200bwei@qq\u2060.com",
        "user@中\u200d文.com",
        "jane (at) 例子 (dot) 公司",
    ],
    "ip": [
        "服务器58·23·4·2",
        "IP：５８．２３．４．２",
        "ping 58.\u200b23.4\u2060.2",
        "来自𝟓𝟖.𝟐𝟑.𝟒.𝟐的请求",
        "58・23・4・2",
    ],
    "phone": [
        "138—1234—5678",
        "138――1234――5678",
        "电话010——88886666",
        "(0571)—8888—6666",
        "0571ー88886666",
        "138 — 1234 — 5678",
        "138\u20121234\u20125678",
        "138·1234·5678",
        "415•555•2671",
        "+86\u2011138\ufe631234\ufe635678",
        "138\u200b1234\u200b5678",
        "1\u200c3\u200d8\u2060123\ufeff45\u00ad678",
        "\u202a138\u200e1234\u200e5678\u202c",
        "138\u200b—\ufeff1234\u200b—5678",
        "１３８\u200b１２３４—５６７８",
        "𝟏𝟑𝟖𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖",
        "𝟭𝟯𝟴－𝟷𝟸𝟹𝟺－𝟝𝟞𝟟𝟠",
        "".join(f"{digit}\ufe0f\u20e3" for digit in "13812345678"),
    ],
    "id_number": [
        "—".join((IDENTITY[:6], IDENTITY[6:14], IDENTITY[14:])),
        "·".join((IDENTITY[:6], IDENTITY[6:14], IDENTITY[14:])),
        "\u200b".join(IDENTITY_X),
        "\ufeff".join((IDENTITY[:6], IDENTITY[6:])),
    ],
    "bank_card": [
        "4111—1111—1111—1111",
        "4111·1111·1111·1111",
        "6222\u00ad0212\u00ad0000\u00ad3456\u00ad782",
        "4111\u200f1111\u200f1111\u200f1111",
        "６２２２―０２１２―００００―３４５６―７８２",
    ],
    "wechat": ["微信号：zhang\u200bsan_8", "微\u200d信：123456789"],
    "qq": ["QQ：1234\u200b5678", "QQ：𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖"],
}
LOOK_ALIKES = {
    "books": ["ISBN 978-7-111-12345-6", "ISBN 9787111123453", "ISBN 0-306-40615-2", "ISSN 2049-3630"],
    "papers": ["doi:10.1000/182.1234567", "doi 10.1016/j.cell.2019.01.001", "arXiv:2101.12345"],
    "versions": ["version 1.2.3.4", "v2.10.33.104", "第1.22.33.44版", "Chrome/91.0.44.124", "389-ds-base-1.3.6.1-19"],
    "times": ["2021-03-04 12:00:00", "20210304123456", "1614834000", "1614834000123", "电话 20210304 发布"],
    "orders": [
        "订单号13812345678",
        f"订单号：{CARD_19}",
        "order number 415-555-2671",
        "编号13812345678",
        "第13812345678号",
    ],
    "failed checks": [IDENTITY[:-1] + "7", "110101199013301234", CARD_19[:-1] + "3", "4111 1111 1111 1112"],
    "special addresses": ["127.0.0.1", "192.168.1.1:80", "0.0.0.0", "255.255.255.0", "192.0.2.1", "224.0.0.1", "::1"],
    "other addresses": ["2001:db8::1:2", "fe80::1", "300.1.2.3", "1.3.6.1.4.1.311", "2006::", "aa:bb:cc:dd:ee:ff"],
    "code": ["user@localhost", "git@github.com:a/b.git", "@decorator", "icon@2x.png", "vue@2.6.11", "call 8048534"],
    "prompts": ["[root@host.com ~]# ls", "jane@host.com:~/src", "aes256-gcm@openssh.com", "https://u:p@host.com/"],
    "parts of more": ["0.13812345678", "113812345678", "13812345678901", "ab13812345678cd", "x_13812345678_o"],
    "links": ["https://x.com/p/15505432622_0bfec51a8f_z.jpg", "https://x.com/13812345678", "x.com/4111111111111111"],
    "amounts": [
        "13812345678元",
        "$13812345678",
        "17179869184 bytes",
        "400-150-3650=",
        "1 2 3 4 5 6 7 8",
        "010 10101010",
    ],
    "names of services": [
        "微信支付",
        "微信公众号：abc_news",
        "微信 Android 版",
        "WeChat payments",
        "QQ2013版",
        "QQ 50000人",
    ],
    "years and ranges": ["1937—1945年", "2019—2020—2021", "3—6小时", "20:30—21:30", "20210304—20210311", "15 — 44"],
    "chemistry and dates": ["ZrOCl2·8H2O、Y(NO3)3·6H2O", "“3·11”大地震", "2008·8·8", "1.2·3·4版"],
    "mentions": [
        "谢谢@小明。中国人民",
        "官方微博@友车官方网站www.example.com更新内容",
        "新浪微博@舞圈APP。舞圈官方网站example.cn",
        "转发@李四.中国好声音",
        "制备了Ag@SiO2核壳结构.The results",
        "tom@qq。OK thanks",
        "{{邮箱@example.com}}",
        "（学号）@pku.edu.cn",
    ],
    "signs without a width": ["1\u200b 2\u200b 3", "2021\u200b年3\u200b月4日", "❤\ufe0f 100\ufe0f", "\ufeff第12345号"],
    "bare numbers": ["4155552671", "88886666", "130503670401001", "378282246310005", "12345678"],
}


def _kinds(text: str) -> set[Kind]:
    return {edit.kind for edit in mask(text)[1]}


_ALL = [(kind, text) for forms in (PERSONAL, OTHER_FORMS) for kind, texts in forms.items() for text in texts]


@pytest.mark.parametrize(("kind", "text"), _ALL)
def test_personal_data_is_masked_as_its_kind(kind: Kind, text: str) -> None:
    masked, edits = mask(text)
    assert [edit.kind for edit in edits] == [kind]
    assert PLACEHOLDERS[kind] in masked
    assert not re.search(r"\d", masked), "no part of the number is left"


@pytest.mark.parametrize("text", [text for texts in LOOK_ALIKES.values() for text in texts])
def test_what_only_looks_like_personal_data_stays(text: str) -> None:
    assert mask(text) == (text, [])


def test_edits_name_places_of_the_original_text() -> None:
    text = f"张三，手机13812345678，邮箱a@b.cn，QQ：12345678、87654321，身份证{IDENTITY}。"
    masked, edits = mask(text)
    assert masked == "张三，手机<PHONE>，邮箱<EMAIL>，QQ：<QQ>、<QQ>，身份证<ID_NUMBER>。"
    assert [(edit.kind, text[edit.start : edit.end]) for edit in edits] == [
        ("phone", "13812345678"),
        ("email", "a@b.cn"),
        ("qq", "12345678"),
        ("qq", "87654321"),
        ("id_number", IDENTITY),
    ]


def test_only_the_kinds_that_are_asked_for_are_masked() -> None:
    text = "a@b.cn or 13812345678"
    assert mask(text, MaskConfig(kinds=("email",)).kinds)[0] == "<EMAIL> or 13812345678"
    assert mask(text, ())[0] == text
    assert MaskConfig().kinds == KINDS
    with pytest.raises(ValidationError):
        MaskConfig.model_validate({"kinds": ["passport"]})


def test_a_number_the_text_calls_wechats_is_that_and_else_a_phone() -> None:
    assert _kinds("微信13812345678") == {"wechat"}
    assert mask("微信13812345678", ("phone",))[0] == "微信<PHONE>"


def test_numbers_listed_after_one_word_are_all_phones() -> None:
    assert mask("电话：86236754、86336301")[0] == "电话：<PHONE>、<PHONE>"
    assert mask("call 0800 138 1016 or 0800 138 1018")[0] == "call <PHONE> or <PHONE>"


def test_what_masking_frees_is_masked_too_and_keeps_its_place() -> None:
    text = "Write to a.b@example.com. 邮箱：liwei@qq.com+86 138-1234-5678"
    masked, edits = mask(text)
    assert masked == "Write to <EMAIL>. 邮箱：<EMAIL><PHONE>"
    assert [text[edit.start : edit.end] for edit in edits] == ["a.b@example.com", "liwei@qq.com", "+86 138-1234-5678"]


@pytest.mark.parametrize("piece", ["QQ12345678", "a@b.cn ", "电话13812345678、"])
def test_a_long_list_is_masked_completely(piece: str) -> None:
    masked, edits = mask(piece * 3000)
    assert len(edits) == 3000
    assert not re.search(r"\d|@", masked)


@pytest.mark.parametrize(
    "piece",
    ["1", "+1", "1.", "微信", "a(at)", "a@", "1 ", "(1)-", "1—", "1·", "1\u200b", "中@", "中。", "中@1。", "\u200b"],
)
def test_a_text_made_of_beginnings_ends_and_holds_nothing(piece: str) -> None:
    assert mask(piece * 30_000)[1] == []


def test_the_short_look_misses_nothing_in_long_texts() -> None:
    filler = "山谷里的人在一九三〇年种下了梨树，到了秋天一起收梨。" * 400
    for kind, text in _ALL:
        assert _kinds(f"{filler}\n{text}\n{filler}") == {kind}, text


def test_an_edit_covers_a_number_as_the_text_writes_it_and_no_more() -> None:
    text = "\ufeff他\u200b的𝟏𝟑𝟖\u200b—\u200b1234——5678\u200b，卡4111·1111\u200b·1111·1111。请寄到李明@例子。公司。"
    masked, edits = mask(text)
    assert masked == "\ufeff他\u200b的<PHONE>\u200b，卡<BANK_CARD>。请寄到<EMAIL>。"
    assert [text[edit.start : edit.end] for edit in edits] == [
        "𝟏𝟑𝟖\u200b—\u200b1234——5678",
        "4111·1111\u200b·1111·1111",
        "李明@例子。公司",
    ]


@pytest.mark.parametrize("between", ["—", "——", " — ", "·", "\u200b", "\u00ad", "\u2060"])
def test_what_separates_two_numbers_leaves_both_found(between: str) -> None:
    assert mask(f"13812345678{between}13987654321") == mask(f"13812345678{between}13987654321", ("phone",))
    assert mask(f"13812345678{between}13987654321")[0] == f"<PHONE>{between}<PHONE>"


_JOINTS = st.sampled_from(["\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u200e", "\u202c", "\ufe0f"])


# But for addresses that are spelt out, which only their words show.
_IN_LATIN = [text for texts in PERSONAL.values() for text in texts if re.search(r"\d|[@＠]", text)]


@given(st.sampled_from(_IN_LATIN), st.data())
def test_a_character_without_a_width_anywhere_inside_hides_nothing(text: str, data: st.DataObject) -> None:
    (edit,) = mask(text)[1]
    place = data.draw(st.integers(edit.start + 1, edit.end - 1))
    hidden = text[:place] + data.draw(_JOINTS) + text[place:]
    assert mask(hidden)[1] == [edit._replace(end=edit.end + 1)]


_PIECES = st.sampled_from(
    [text for _, text in _ALL]
    + [text for texts in LOOK_ALIKES.values() for text in texts]
    + [
        "微信",
        "QQ",
        "电话",
        "call",
        "tel",
        "卡号",
        "ip",
        "@",
        ".",
        "-",
        " ",
        "+86",
        "(",
        ")",
        "、",
        "：",
        "\n",
        "<PHONE>",
        "１",
        "𝟏",
        "—",
        "·",
        "。",
        "\u200b",
        "\ufe0f",
        "例子.公司",
    ]
)
_TEXTS = st.one_of(
    st.lists(_PIECES, max_size=8).map("".join),
    st.lists(
        st.one_of(_PIECES, st.text("0123456789-. ()+@:xXa微信Q群号<>—·。\u200b\u20e3", max_size=12)), max_size=6
    ).map("".join),
    st.text(max_size=60),
)


@settings(max_examples=300)
@given(_TEXTS, st.sets(st.sampled_from(KINDS)).map(lambda some: some or set(KINDS)))
def test_text_outside_the_edits_stays_and_a_masked_text_does_not_change(text: str, kinds: set[Kind]) -> None:
    masked, edits = mask(text, kinds)
    rebuilt, at = [], 0
    for edit in edits:
        assert at <= edit.start < edit.end <= len(text), "edits are in order, not empty, and apart"
        assert edit.kind in kinds
        rebuilt += [text[at : edit.start], PLACEHOLDERS[edit.kind]]
        at = edit.end
    assert "".join([*rebuilt, text[at:]]) == masked
    assert mask(masked, kinds) == (masked, [])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, dict]]:
    """Each document's text beside its row of the truth."""
    config = SampleWorldConfig(documents=4000, planted_share=0.5)
    folder = stage.run(config, Store(tmp_path_factory.mktemp("world"))).path
    texts: dict[tuple[str, str], str] = {}
    for path in sorted(Path(folder, "documents").glob("*/*")):
        rows = (
            pq.read_table(path).to_pylist()
            if path.suffix == ".parquet"
            else [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        )
        texts |= {(path.parent.name, row["id"]): row["text"] for row in rows}
    truth = map(json.loads, Path(folder, "truth.jsonl").read_text(encoding="utf-8").splitlines())
    return [(texts[row["source"], row["id"]], row) for row in truth]


def test_what_the_sample_world_planted_is_found_and_nothing_else(world: list[tuple[str, dict]]) -> None:
    found_counts, planted, right, look_alikes, masked_alikes = Counter(), Counter(), Counter(), 0, 0
    for text, row in world:
        got = Counter(text[edit.start : edit.end] for edit in mask(text)[1])
        want = Counter(value for _, value in row["details"].get("personal", []))
        alike = [value for _, value in row["details"].get("look_alikes", [])]
        found_counts[row["lang"]] += got.total()
        planted[row["lang"]] += want.total()
        right[row["lang"]] += (got & want).total()
        look_alikes += len(alike)
        masked_alikes += sum(any(value in alike_value for value in got) for alike_value in alike)
    assert min(planted["zh"], planted["en"]) > 50 and look_alikes > 30
    for lang in ("zh", "en"):
        assert 2 * right[lang] / (found_counts[lang] + planted[lang]) >= 0.97, lang
    assert masked_alikes / look_alikes <= 0.01
    assert sum(found_counts.values()) - found_counts["zh"] - found_counts["en"] == 0, (
        "programs and other languages hold none"
    )
