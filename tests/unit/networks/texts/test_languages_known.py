"""Text networks know the languages that they declare: what was learned from English holds in each of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from multimodal_algo.networks.text_backbone import TextBackbone
from multimodal_algo.networks.texts.library import E5, EMBEDDED, UNIVERSAL

# Half of the sentences are about food, the other half about trains.
ENGLISH = (
    "The soup was hot and tasted of fresh tomatoes.", "We baked bread and a chocolate cake.",
    "She cooked rice with vegetables for dinner.", "This restaurant serves excellent fish.",
    "The apples and the cheese are delicious.", "Add salt, butter and two eggs to the dough.",
    "The train to the city leaves at nine o'clock.", "Our bus was late because of the traffic.",
    "You can buy the railway ticket at the station.", "The driver stopped at the last platform.",
    "The journey by rail takes three hours.", "Passengers must change trains here.",
)  # fmt: skip

# One sentence about food and one about trains for each language of the Universal Sentence Encoder.
ANSWERED: Mapping[str, tuple[str, str]] = {
    "en": ("The salad with chicken is very tasty.", "The next train arrives on platform two."),
    "de": ("Das Brot mit Käse schmeckt sehr gut.", "Der Zug nach Berlin hat eine Stunde Verspätung."),
    "nl": ("De soep met groenten smaakt heerlijk.", "De trein naar Utrecht vertrekt om acht uur."),
    "fr": ("La soupe aux légumes est délicieuse.", "Le train pour Lyon part du quai numéro deux."),
    "es": ("El arroz con pollo está muy rico.", "El tren a Madrid sale de la estación a las ocho."),
    "it": ("La pasta al pomodoro è buonissima.", "Il treno per Roma parte dal binario due."),
    "pt": ("O peixe com batatas estava delicioso.", "O trem para a cidade sai da estação às nove."),
    "pl": ("Zupa pomidorowa jest bardzo smaczna.", "Pociąg do Warszawy odjeżdża z peronu drugiego."),
    "ru": ("Этот суп с овощами очень вкусный.", "Поезд в Москву отправляется с первой платформы."),
    "tr": ("Sebzeli çorba çok lezzetli.", "Ankara treni saat dokuzda istasyondan kalkıyor."),
    "ar": ("حساء الخضار لذيذ جدا.", "يغادر القطار المحطة في الساعة التاسعة."),
    "zh": ("这道鸡肉米饭非常好吃。", "去北京的火车九点从车站出发。"),
    "ja": ("この野菜スープはとても美味しいです。", "東京行きの電車は九時に駅を出発します。"),
    "ko": ("이 야채 수프는 아주 맛있어요.", "서울행 기차는 아홉 시에 역에서 출발합니다."),
    "th": ("ซุปผักนี้อร่อยมาก", "รถไฟไปเชียงใหม่ออกจากสถานีเวลาเก้าโมง"),
}

# Languages that multilingual-e5-small knows beyond these.
ANSWERED_BY_E5: Mapping[str, tuple[str, str]] = {
    "hi": ("यह सब्ज़ी का सूप बहुत स्वादिष्ट है।", "दिल्ली की ट्रेन नौ बजे स्टेशन से निकलती है।"),
    "el": ("Η σούπα με λαχανικά είναι πολύ νόστιμη.", "Το τρένο για την Αθήνα φεύγει από τον σταθμό στις εννέα."),
    "he": ("מרק הירקות טעים מאוד.", "הרכבת לתל אביב יוצאת מהתחנה בתשע."),
    "fi": ("Kasviskeitto on erittäin herkullista.", "Juna Helsinkiin lähtee asemalta kello yhdeksän."),
    "hu": ("A zöldségleves nagyon finom.", "A budapesti vonat kilenckor indul az állomásról."),
    "cs": ("Zeleninová polévka je velmi chutná.", "Vlak do Prahy odjíždí z nádraží v devět hodin."),
    "uk": ("Овочевий суп дуже смачний.", "Потяг до Києва відправляється з вокзалу о дев'ятій."),
    "vi": ("Món súp rau này rất ngon.", "Tàu hỏa đi Hà Nội rời ga lúc chín giờ."),
    "id": ("Sup sayuran ini sangat lezat.", "Kereta ke Jakarta berangkat dari stasiun pukul sembilan."),
    "fa": ("سوپ سبزیجات بسیار خوشمزه است.", "قطار تهران ساعت نه از ایستگاه حرکت می‌کند."),
    "ta": ("இந்த காய்கறி சூப் மிகவும் சுவையாக உள்ளது.", "சென்னை ரயில் ஒன்பது மணிக்கு நிலையத்திலிருந்து புறப்படுகிறது."),
    "bn": ("এই সবজির স্যুপ খুব সুস্বাদু।", "ঢাকার ট্রেন নয়টায় স্টেশন থেকে ছাড়ে।"),
}


def topics(name: str, sentences: Mapping[str, tuple[str, str]]) -> dict[str, tuple[int, int]]:
    """Return the topics that the network's vectors show, by language: 0 is food, 1 is trains."""
    network = TextBackbone.resolve(name)
    model = LogisticRegression(C=10).fit(network.encode(ENGLISH), [0] * 6 + [1] * 6)
    found = model.predict(network.encode([text for pair in sentences.values() for text in pair]))
    return dict(zip(sentences, map(tuple, np.reshape(found, (-1, 2)).tolist()), strict=True))


@pytest.mark.parametrize(
    ("name", "sentences"), [(UNIVERSAL, ANSWERED), (E5, ANSWERED | ANSWERED_BY_E5)], ids=[UNIVERSAL, E5]
)
def test_held_out_sentences_of_each_language_get_the_right_topic(
    name: str, sentences: Mapping[str, tuple[str, str]]
) -> None:
    assert topics(name, sentences) == dict.fromkeys(sentences, (0, 1))
    assert set(sentences) <= set(EMBEDDED[name].languages.split())
