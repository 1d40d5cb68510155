from __future__ import annotations

import threading
import time
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_klue_rerank.engine.text.kiwi import CONTENT_TAGS, Analyzer, shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts, tokenize
from langchain_klue_rerank.engine.text.words import MAX_WORD_LENGTH, bigrams, clean, has_words, pieces, split_words
from tests.parallel import in_threads

# Hypothesis leaves surrogates out unless it is asked for them.
ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=60)
PLAIN_TEXT = st.text("가각나날달라말ㅋㅎ한국abcXYZ0123456789,. \n\t-_()!?", max_size=80)


class FakeKiwi:
    """Counts what it is asked; every word is one noun, and "조사" nothing but particles."""

    made = 0

    def __init__(self, **settings: object) -> None:
        time.sleep(0.02)  # long enough for another thread to come
        type(self).made += 1
        self.asked: list[str] = []

    def tokenize(self, texts: str | list[str]) -> list[object]:
        if isinstance(texts, str):
            return []
        self.asked += texts
        return [[] if text == "조사" else [Token(text, "NNG"), Token("은", "JX")] for text in texts]


class Token:
    def __init__(self, form: str, tag: str) -> None:
        self.form = form
        self.tag = tag


@pytest.fixture
def fake_kiwi(monkeypatch: pytest.MonkeyPatch) -> type[FakeKiwi]:
    import kiwipiepy

    monkeypatch.setattr(FakeKiwi, "made", 0)
    monkeypatch.setattr(kiwipiepy, "Kiwi", FakeKiwi)
    return FakeKiwi


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \n\t ", []),
        ("...!? —「」 _ _", []),
        ("전입신고는 14일 안에!", ["전입신고는", "14일", "안에"]),
        ("Seoul SEOUL seoul", ["seoul"] * 3),
        ("10,000원과 1,234,567명", ["1만원과", "1234567명"]),
        ("1,2 그리고 12,34", ["1", "2", "그리고", "12", "34"]),
        ("2023,2024", ["2023", "2024"]),
        ("ＫＯＲＥＡ １２３ ％", ["korea", "123"]),
        ("㈜삼성 ①번 5㎏ ℃", ["주", "삼성", "1번", "5kg", "c"]),
        ("ㅋㅋㅋ ㅠㅠ", ["ㅋㅋㅋ", "ㅠㅠ"]),
        ("대\u200b한\ufeff민\u00ad국", ["대한민국"]),
        ("\u202e거꾸로\u202c", ["거꾸로"]),
        ("좋아요😀👍🏽👨‍👩‍👧", ["좋아요"]),
        ("\x00제어\x07문자\x1b", ["제어", "문자"]),
        ("漢字와 かな と Ελλάδα", ["漢字와", "かな", "と", "ελλάδα"]),
        ("𠮷野家 𝐀", ["𠮷野家", "𝐀"]),
        ("snake_case", ["snake", "case"]),
    ],
)
def test_words_of_all_kinds_of_text(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def test_decomposed_text_has_the_same_words() -> None:
    text = "출입국관리법에 따른 체류기간 연장허가, Café"
    decomposed = unicodedata.normalize("NFD", text)
    assert decomposed != text
    assert split_words(decomposed) == split_words(text)
    assert clean(decomposed) == text


def test_lone_surrogates_are_replaced_and_pairs_joined() -> None:
    assert clean("가\ud83d나") == "가\ufffd나"
    assert clean("\udc00") == "\ufffd"
    assert clean("\ud83d\ude00") == "😀"
    assert split_words("가\ud83d나 \ude00") == ["가", "나"]


def test_a_megabyte_without_a_space_is_cut_into_bounded_words() -> None:
    words = split_words("가나다라마" * 200_000)
    assert "".join(words) == "가나다라마" * 200_000
    assert {len(word) for word in words[:-1]} == {MAX_WORD_LENGTH}
    assert 0 < len(words[-1]) <= MAX_WORD_LENGTH


@given(ANY_TEXT)
def test_no_text_breaks_split_words(text: str) -> None:
    words = split_words(text)
    assert all(0 < len(word) <= MAX_WORD_LENGTH for word in words)
    assert all(word.encode() for word in words)  # UTF-8 can hold them
    assert not any(character.isspace() for word in words for character in word)


@given(ANY_TEXT)
def test_normal_form_does_not_matter(text: str) -> None:
    assert split_words(unicodedata.normalize("NFD", text)) == split_words(text)
    assert split_words(clean(text)) == split_words(text)


@given(ANY_TEXT)
def test_clean_text_can_be_written_and_stays_clean(text: str) -> None:
    once = clean(text)
    assert clean(once.encode().decode()) == once


@given(PLAIN_TEXT)
def test_words_joined_by_spaces_are_the_same_words(text: str) -> None:
    words = split_words(text)
    assert split_words(" ".join(words)) == words


#: What numbers, sums, dates and signs are made of.
NUMBERS = st.lists(
    st.sampled_from(
        [*"0123579,.-/ 월일원만천십동개℃\u2212#+", "2024", "19", "1,000", "101,102", "c++", "삼만", "0", " \n"]
    ),
    max_size=14,
).map("".join)


@given(st.one_of(PLAIN_TEXT, NUMBERS))
def test_a_rare_character_elsewhere_changes_no_word(text: str) -> None:
    """A text of usual characters alone is read a shorter way, and so is one without a digit, a comma or a hyphen."""
    others = "\n.\n①\u200b 19번 0점 2,000개 7-9 십원"
    assert split_words(text + others) == split_words(text) + split_words(others)
    assert clean(text + "e\u0301") == clean(text) + "é"


def test_of_every_character_alone_the_words_are_those_beside_a_rare_one() -> None:
    for code in [*range(0x3200), *range(0x3200, 0xD800, 37), *range(0xE000, 0x20000, 37)]:
        character = chr(code)
        if not unicodedata.combining(character):
            assert split_words(f"a {character}") == split_words(f"a {character} \u200b"), hex(code)


def test_bigrams() -> None:
    assert bigrams("대한민국") == ["대한", "한민", "민국"]
    assert bigrams("물") == ["물"]


def test_kiwi_keeps_content_and_drops_particles_and_endings() -> None:
    [noun, verb, nothing, foreign] = shared_analyzer().morphemes(["하늘은", "뛰었다", "에서는", "LangChain을"])
    assert noun == ("하늘/NNG",)
    assert verb == ("뛰/VV",)
    assert nothing == ()
    assert foreign == ("langchain/SL",)


@given(st.lists(ANY_TEXT, max_size=5))
def test_kiwi_reads_any_words(texts: list[str]) -> None:
    words = [word for text in texts for word in split_words(text)]
    found = shared_analyzer().morphemes(words)
    assert len(found) == len(words)
    for morphemes in found:
        for morpheme in morphemes:
            form, tag = morpheme.rsplit("/", 1)
            assert form
            assert tag in CONTENT_TAGS
            assert "\n" not in form
            assert form.encode()  # can be saved


def test_a_word_has_the_same_morphemes_whatever_stands_around_it() -> None:
    words = ["전입신고를", "주민센터에서", "하려면", "서류가", "필요합니다"]
    together = Analyzer().morphemes(words)
    alone = Analyzer()
    assert together == [alone.morphemes([word])[0] for word in words]


def test_sentences_of_a_text() -> None:
    text = "전입신고는 14일 안에 합니다. 늦으면 과태료를 냅니다."
    assert shared_analyzer().sentences(text) == ["전입신고는 14일 안에 합니다.", "늦으면 과태료를 냅니다."]
    assert shared_analyzer().sentences("") == []
    assert shared_analyzer().sentences("가\ud83d나")  # lone surrogates too


def test_every_distinct_word_is_analysed_once(fake_kiwi: type[FakeKiwi]) -> None:
    analyzer = Analyzer()
    first = analyzer.morphemes(["강", "산", "강", "조사"])
    second = analyzer.morphemes(["산", "물"])
    assert first == [("강/NNG",), ("산/NNG",), ("강/NNG",), ()]
    assert second == [("산/NNG",), ("물/NNG",)]
    assert sorted(analyzer.kiwi.asked) == ["강", "물", "산", "조사"]  # type: ignore[attr-defined]


@given(st.lists(st.lists(st.sampled_from("가나다라마바사"), max_size=9), max_size=9), st.integers(0, 4))
def test_a_full_cache_changes_no_result(batches: list[list[str]], size: int) -> None:
    analyzer = Analyzer(cache_size=size)
    analyzer._kiwi = FakeKiwi()  # type: ignore[assignment]
    for words in batches:
        assert analyzer.morphemes(words) == [(f"{word}/NNG",) for word in words]
        assert len(analyzer._cache) <= size


def test_an_analyzer_that_is_never_asked_loads_nothing(fake_kiwi: type[FakeKiwi]) -> None:
    assert Analyzer().morphemes([]) == []
    assert fake_kiwi.made == 0


def test_many_threads_load_kiwi_once(fake_kiwi: type[FakeKiwi]) -> None:
    analyzer = Analyzer()
    start = threading.Barrier(8)
    results: list[list[tuple[str, ...]]] = []

    def ask() -> None:
        start.wait()
        assert analyzer.kiwi is not None
        results.append(analyzer.morphemes(["강", "산"]))

    in_threads(ask, 8)
    assert results == [[("강/NNG",), ("산/NNG",)]] * 8
    assert fake_kiwi.made == 1


def test_who_asks_for_a_word_does_not_wait_for_the_thousands_of_another(fake_kiwi: type[FakeKiwi]) -> None:
    """A question beside indexing waited until a whole batch was analysed."""
    analyzer = Analyzer()
    kiwi = analyzer.kiwi
    tokenize_all = kiwi.tokenize
    busy, done = threading.Event(), threading.Event()

    def slow(texts: list[str]) -> list[object]:
        if "문서0" in texts:
            busy.set()
            assert done.wait(30)
        return tokenize_all(texts)

    kiwi.tokenize = slow
    indexing = threading.Thread(target=analyzer.morphemes, args=([f"문서{number}" for number in range(4000)],))
    indexing.start()
    assert busy.wait(30)
    assert analyzer.morphemes(["질문"]) == [("질문/NNG",)]
    assert indexing.is_alive()
    done.set()
    indexing.join()
    assert len(kiwi.asked) == 4001


@pytest.mark.slow
def test_many_threads_with_the_real_kiwi_get_the_same() -> None:
    words = sorted({word for text in (CONCURRENT * 3) for word in split_words(text)})
    expected = shared_analyzer().morphemes(words)
    analyzer = Analyzer(cache_size=3)

    def ask() -> None:
        for _ in range(5):
            assert analyzer.morphemes(words) == expected

    in_threads(ask, 6)


@pytest.mark.parametrize("text", ["a", '"', "가", "ㅋ", "(", ". ", '"가', "漢", "\n", "1,"])
def test_sentences_of_a_hundred_thousand_characters(text: str) -> None:
    """Kiwi alone takes minutes for some of them, and lets no other thread run meanwhile."""
    found = shared_analyzer().sentences(text * (20_000 // len(text)))
    assert all(len(one) <= 400 for one in found)
    assert sum(map(len, found)) <= 20_000


def test_sentences_of_ordinary_text() -> None:
    text = "전입신고는 14일 안에 합니다. 여권은 구청에서 만듭니다! 도서관은 언제 쉬나요?\n월요일에 쉽니다."
    assert shared_analyzer().sentences(text * 1) == [
        "전입신고는 14일 안에 합니다.",
        "여권은 구청에서 만듭니다!",
        "도서관은 언제 쉬나요?",
        "월요일에 쉽니다.",
    ]
    long = " ".join([text] * 50)
    assert shared_analyzer().sentences(long) == shared_analyzer().sentences(text) * 50


CONCURRENT = [
    "세탁기가 탈수할 때 심하게 흔들리면 빨래를 고르게 펴고 수평을 맞추십시오.",
    "비밀번호를 다섯 번 틀리면 계정이 잠기고 30분 뒤에 풀립니다.",
]


@given(st.lists(PLAIN_TEXT, max_size=6))
def test_tokenized_texts_hold_the_words_in_order(texts: list[str]) -> None:
    tokens = tokenize(texts, None)
    assert len(tokens) == len(texts)
    assert len(set(tokens.words)) == len(tokens.words) == len(tokens.morphemes)
    assert words_of(tokens) == [split_words(text) for text in texts]
    assert tokens.lengths().tolist() == [len(split_words(text)) for text in texts]


@given(st.lists(st.lists(PLAIN_TEXT, max_size=3), min_size=1, max_size=4))
def test_texts_joined_are_those_tokenized_together(parts: list[list[str]]) -> None:
    joined = TokenizedTexts.join([tokenize(texts, None) for texts in parts])
    together = tokenize([text for texts in parts for text in texts], None)
    assert (joined.words, joined.morphemes) == (together.words, together.morphemes)
    assert joined.word_ids.tolist() == together.word_ids.tolist()
    assert joined.offsets.tolist() == together.offsets.tolist()


def test_joined_texts_keep_their_morphemes() -> None:
    texts = ["하늘은 푸르다", "강물은 하늘은 흐른다"]
    joined = TokenizedTexts.join([tokenize([text], shared_analyzer()) for text in texts])
    assert joined.morphemes == shared_analyzer().morphemes(joined.words)


@given(st.data(), st.lists(PLAIN_TEXT, min_size=1, max_size=6))
def test_taking_texts_is_tokenizing_those_texts(data: st.DataObject, texts: list[str]) -> None:
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=8))
    taken = tokenize(texts, None).take(np.asarray(rows, np.int64))
    assert words_of(taken) == [split_words(texts[row]) for row in rows]
    assert len(taken.words) == len(taken.morphemes) == len(set(taken.words))
    assert set(taken.words) == {word for row in rows for word in split_words(texts[row])}


def test_taken_texts_keep_their_morphemes() -> None:
    texts = ["하늘은 푸르다", "", "강물은 흐른다 하늘은"]
    taken = tokenize(texts, shared_analyzer()).take(np.asarray([2, 1]))
    assert dict(zip(taken.words, taken.morphemes, strict=True)) == {
        "하늘은": ("하늘/NNG",),
        "강물은": ("강물/NNG",),
        "흐른다": ("흐르/VV",),
    }


def words_of(tokens: TokenizedTexts) -> list[list[str]]:
    ends = tokens.offsets.tolist()
    return [[tokens.words[number] for number in tokens.word_ids[start:end].tolist()] for start, end in pairwise(ends)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("101,102,103동 재활용", ["101", "102", "103동", "재활용"]),
        ("101,103,105호", ["101", "103", "105호"]),
        ("101,102,1034", ["101", "102", "1034"]),
        ("101,102,103 세 동", ["101", "102", "103", "세", "동"]),
        ("101,102,103원", ["1억110만2103원"]),
        ("345,600명", ["345600명"]),
        ("1234,567", ["1234", "567"]),
        ("001,002", ["001", "002"]),
        ("-5℃와 5℃", ["-5", "c와", "5", "c"]),
        ("영업이익 −3.2%", ["영업이익", "-3", "2"]),
        ("010-1234-5678, 2024-05-01", ["010", "1234", "5678", "2024년", "5월", "1일"]),
        ("-5개\n-6개", ["5개", "6개"]),  # items of a list
        ("C C++ C# F#과 C++는", ["c", "c++", "c#", "f#과", "c++는"]),
        ("A+ 등급 a+b notepad++", ["a+", "등급", "a", "b", "notepad++"]),
        ("서울#맛집 love#맛집", ["서울", "맛집", "love", "맛집"]),
        ("만원 만 원 1만원", ["1만원", "1만", "원", "1만원"]),
        ("오만원권, 십오만 원", ["5만원권", "15만", "원"]),
        ("35,000원 3만5천원 삼만오천원 3만 5천원", ["3만5천원"] * 4),
        ("35,000 원은 3만 5천 원", ["3만5천", "원은", "3만5천", "원"]),
        ("12,500원 만이천오백원 1만2500원 5,000원 오천원 500원", ["1만2500원"] * 3 + ["5천원"] * 2 + ["500원"]),
        ("1억2천만원 120,000,000원 2.5억 원 3만 명", ["1억2000만원"] * 2 + ["2", "5억", "원", "3만", "명"]),
        ("만원버스, 천 원피스, 이 원고", ["만원버스", "천", "원피스", "이", "원고"]),
    ],
)
def test_numbers_signs_and_names(text: str, words: list[str]) -> None:
    assert split_words(text) == words
    assert split_words(" ".join(words)) == words


@pytest.mark.parametrize("mark", ["\u0301", "\u0301\u0323", "\u0f73", "\uff9e", "\u3099\u309a"])
def test_runs_of_combining_marks_are_bounded(mark: str) -> None:
    """Putting n of them in order takes n * n steps, during which nothing else runs."""
    text = "가" + mark * 500_000
    assert len(clean(text)) <= 100
    assert split_words(f"전입신고 {text} 기한")[0] == "전입신고"
    assert split_words(f"전입신고 {text} 기한")[-1] == "기한"


def test_up_to_thirty_marks_stay() -> None:
    text = "e" + "\u0323" * 15 + "\u0301" * 15
    assert unicodedata.normalize("NFD", clean(text)) == unicodedata.normalize("NFD", text)


@given(
    st.lists(st.sampled_from(["가", "\u1100\u1161\u11a8", "e\u0301", "\u304b\u3099", "\ud83d\ude00", " ", "\n", "7"]))
)
def test_pieces_change_nothing(parts: list[str]) -> None:
    text = "".join(parts) * 20
    assert "".join(pieces(text, 64)) == text
    assert all(len(one) <= 64 for one in pieces(text, 64))
    joined = "".join(unicodedata.normalize("NFC", one) for one in pieces(text, 64))
    assert joined == unicodedata.normalize("NFC", text)


def test_a_mark_that_becomes_two_leaves_no_more_marks_than_others() -> None:
    cleaned = clean("가" + "\u0344" * 40 + "나")
    assert clean(cleaned) == cleaned
    assert len(cleaned) == 32


@pytest.mark.parametrize("filler", ["\u3164", "\uffa0"])
def test_wide_hangul_fillers_are_spaces(filler: str) -> None:
    assert split_words(f"전입신고{filler}안내") == ["전입신고", "안내"]
    assert not has_words(filler * 3)


def test_conjoining_hangul_fillers_have_no_width() -> None:
    assert split_words("전입\u115f\u1160신고") == ["전입신고"]
    assert not has_words("\u115f\u1160")


@pytest.mark.parametrize("date", ["2024.03.05", "2024-3-5", "2024/03/05", "2024. 3. 5.", "2024년 03월 05일"])
def test_dates_are_written_one_way(date: str) -> None:
    assert split_words(f"{date} 회의") == ["2024년", "3월", "5일", "회의"]
    assert split_words(f"접수({date})") == ["접수", "2024년", "3월", "5일"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2024.13.05", ["2024", "13", "05"]),
        ("2024.03.05.7", ["2024", "03", "05", "7"]),
        ("010-2024-3-5", ["010", "2024", "3", "5"]),
        ("12024-03-05", ["12024", "03", "05"]),
        ("2024-03.05", ["2024", "03", "05"]),
        ("005일", ["005일"]),
    ],
)
def test_other_chains_of_numbers_are_no_dates(text: str, words: list[str]) -> None:
    assert split_words(text) == words
