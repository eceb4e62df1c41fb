"""Texts of every script separate two classes by the TF-IDF of their tokens alone."""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_algo.core.linear_fit import fit_linear
from multimodal_algo.predictors.linear_features import LinearFeatures
from multimodal_algo.predictors.tokens import tokens_of

# Blank between words, words of the first class, of the second class, and of both.
SCRIPTS = {
    "emoji": ("", "😀 🥰 😂 👍🏽 🎉 ❤️", "😡 😭 🤮 👎🏿 💔 🤬", "🐈 🚗 🌧️ 🏠 👩‍🚒 🇩🇪"),
    "skin tones": ("", "👍🏿 👏🏻 🙌🏽", "👎🏿 👊🏻 🖕🏽", "✋🏿 ✋🏻 ✋🏽"),
    "flags": ("", "🇩🇪 🇫🇷 🇮🇹 🇪🇸", "🇯🇵 🇰🇷 🇨🇳 🇹🇭", "🇧🇷 🇨🇱"),
    "families": ("", "👨‍👩‍👧 👩‍👩‍👦 👨‍👨‍👧‍👦", "👩‍🚒 👨‍🚀 🧑‍⚕️", "🏳️‍🌈 🏴‍☠️"),
    "stars": (" ", "★★★★★ ★★★★☆", "☆☆☆☆☆ ★☆☆☆☆", "→ ← ✓"),
    "Chinese": ("", "很好 喜欢 满意 推荐 漂亮", "很差 讨厌 退货 失望 破损", "手机 快递 收到 昨天 这个 颜色"),
    "Japanese": ("", "素晴らしい おすすめ きれい 最高", "壊れた がっかり 最低 ひどい", "商品 届いた です ケース 箱"),
    "half-width Japanese": ("", "ｽﾊﾞﾗｼｲ ｻｲｺｳ ｷﾚｲ", "ｻｲﾃｲ ﾋﾄﾞｲ ｶﾞｯｶﾘ", "ｹｰｽ ﾊｺ ﾃﾞｽ"),
    "Korean": (" ", "좋아요 추천합니다 예뻐요", "나빠요 실망했어요 별로예요", "제품 배송 어제 색상"),
    "Korean without blanks": ("", "좋아요 추천합니다 예뻐요", "나빠요 실망했어요 별로예요", "제품 배송 어제 색상"),
    "Thai": ("", "ดีมาก ชอบ แนะนำ สวย", "แย่ ผิดหวัง พัง เกลียด", "สินค้า เมื่อวาน สี กล่อง"),
    "Lao": ("", "ດີຫຼາຍ ມັກ ງາມ", "ບໍ່ດີ ເສຍ ຜິດຫວັງ", "ສິນຄ້າ ກ່ອງ ມື້ວານ"),
    "Khmer": ("", "ល្អណាស់ ចូលចិត្ត ស្អាត", "អាក្រក់ ខូច ខកចិត្ត", "ទំនិញ ប្រអប់ ម្សិលមិញ"),
    "Myanmar": ("", "ကောင်းတယ် ကြိုက်တယ် လှတယ်", "ဆိုးတယ် ပျက်တယ် စိတ်ပျက်", "ပစ္စည်း သေတ္တာ မနေ့က"),
    "Arabic": (" ", "ممتاز جميل أنصح رائع", "سيئ مكسور مخيب رديء", "المنتج وصل أمس اللون"),
    "Arabic with vowel marks": (" ", "كَتَبَ عَلِمَ", "كُتِبَ عُلِمَ", "فِي مِنْ عَلَى"),
    "Hebrew": (" ", "מצוין יפה ממליץ", "גרוע שבור מאכזב", "המוצר הגיע אתמול"),
    "Hindi vowels": (" ", "कि दिन मिल", "की दीन मील", "यह है उत्पाद"),
    "Bengali": (" ", "ভালো সুন্দর চমৎকার", "খারাপ ভাঙা হতাশ", "পণ্য বাক্স গতকাল"),
    "Tamil vowels": (" ", "கல் பல் சில", "கால் பால் சீல", "இது ஒரு பொருள்"),
    "Georgian": (" ", "კარგი ლამაზი", "ცუდი გატეხილი", "პროდუქტი გუშინ"),
    "Amharic": (" ", "ጥሩ ቆንጆ", "መጥፎ የተሰበረ", "ምርት ትናንት"),
    "Vietnamese": (" ", "má bà", "mả bả", "hàng tôi"),
    "Vietnamese in marks of their own": (" ", "ma\u0301 ba\u0300", "ma\u0309 ba\u0309", "ha\u0300ng to\u0302i"),
    "Russian": (" ", "хорошо отлично", "плохо ужасно", "товар вчера"),
}


def texts(script: str, rows: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Return texts of five words, of which two belong to the class and three to both, with the classes."""
    blank, *words = SCRIPTS[script]
    by_class = [group.split(" ") for group in words]
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, rows)
    cells = []
    for label in labels:
        chosen = [*generator.choice(by_class[label], 2), *generator.choice(by_class[2], 3)]
        cells.append(blank.join(generator.permutation(chosen)))
    return cells, labels


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("with_pieces", [False, True])
def test_words_of_every_script_separate_classes_of_new_rows(script: str, with_pieces: bool) -> None:
    (known, labels), (new, truth) = texts(script, 120, seed=1), texts(script, 120, seed=2)
    features = LinearFeatures(max_words=5000, with_pieces=with_pieces)
    model = fit_linear(
        features.fit_transform(pd.DataFrame({"a_text": known})), labels, n_classes=2, strength=3.0, max_iterations=20
    )
    scores = model.scores(features.transform(pd.DataFrame({"a_text": new})))
    assert (scores.argmax(axis=1) == truth).mean() > 0.97


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Two_words, 1.5", ["two_words", "1", "5"]),
        ("Très BON", ["très", "bon"]),
        ("東京都", ["東", "京", "都", "東京", "京都"]),
        ("ＡＢＣ１", ["abc1"]),
        ("नमस्ते", ["नमस्ते"]),
        ("👍🏽👍", ["👍🏽", "👍", "👍"]),
        ("👩‍🚒", ["👩‍🚒", "👩", "🚒"]),
        ("🇩🇪🇫🇷", ["🇩🇪", "🇫🇷"]),
        ("app카카", ["app", "카카", "카", "카", "카카"]),
        ("ếch 😀", ["ếch", "😀"]),
        ("", []),
        ("… — ”", []),
    ],
)
def test_the_tokens_of_a_text(text: str, tokens: list[str]) -> None:
    assert tokens_of(text) == tokens


def test_signs_of_style_are_not_part_of_an_emoji() -> None:
    assert tokens_of("\u2764\ufe0f") == tokens_of("\u2764") == ["\u2764"]


@given(st.text(max_size=30))
def test_forms_of_the_same_text_have_the_same_tokens(text: str) -> None:
    tokens = tokens_of(text)
    assert all(tokens)
    assert tokens_of(unicodedata.normalize("NFD", text)) == tokens_of(unicodedata.normalize("NFC", text))
    assert tokens_of(f" {text}\n") == tokens
