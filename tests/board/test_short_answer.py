"""The short answer of a board: the leaders that can't be told apart, or that nothing is shown."""

import pandas as pd

from negmark.board.findings import COMPARED, TELLS
from negmark.board.short_answer import short_answer


def board(groups: dict[str, str], tells: bool | None = True) -> pd.DataFrame:
    """Rows of one dataset, best first, each a hundredth below the one before it."""
    rows = [
        {"row": name, "title": name.upper(), "tier": "static", "track": "controlled", "method": name, "rank": place,
         "groups": letters, "value": 0.5 - place / 100}
        for place, (name, letters) in enumerate(groups.items(), start=1)
    ]  # fmt: skip
    rows.append(
        {
            "row": "untrained",
            "title": "Untrained",
            "tier": "",
            "track": "baseline",
            "method": "",
            "value": 0.2,
        }
    )
    frame = pd.DataFrame(rows).assign(dataset="wordnet", **{"test_queries/unseen": 100, TELLS: tells})
    for part in ("all", "unseen"):
        frame[f"nDCG@10/{part}/mean"] = frame["value"]
    return frame


def test_rows_that_share_a_letter_with_the_first_lead_together() -> None:
    said = short_answer(board({"simans": "a", "ance": "ab", "random": "b", "inbatch": "c"}), {})
    assert said == [
        "On wordnet SIMANS and ANCE lead and can't be told apart: nDCG@10 up to 0.490, against 0.460 of INBATCH and "
        "0.200 of Untrained."
    ]


def test_of_tuned_rows_none_is_called_so() -> None:
    frame = board({"simans": "a", "ance": "a", "inbatch": "b"})
    tuned = frame.assign(
        title=[f"{title}, tuned" if title != "Untrained" else title for title in frame["title"]]
    )
    assert short_answer(tuned, {}) == short_answer(frame, {})


def test_a_first_that_stands_alone_leads_alone_and_without_letters_as_well() -> None:
    for letters in ("a", ""):
        said = short_answer(board({"simans": letters, "inbatch": "b"}), {})
        assert said == [
            "On wordnet SIMANS leads: nDCG@10 0.490, against 0.480 of INBATCH and 0.200 of Untrained."
        ]


def test_many_leaders_are_counted() -> None:
    rows = dict.fromkeys(["a", "b", "c", "d", "e", "f"], "a")
    assert "A, B, C, D and 2 more lead and can't" in short_answer(board({**rows, "inbatch": "b"}), {})[0]


def outcome(groups: dict[str, str], p: dict[str, float], *controls: str) -> pd.DataFrame:
    """The same rows with the p-values of those that were tested; those that aren't controls are compared."""
    frame = board(groups)
    frame["p"] = frame["row"].map(p)
    return frame.assign(**{COMPARED: frame["p"].notna() & ~frame["row"].isin(controls)})


def test_a_control_leads_nothing() -> None:
    frame = outcome(
        {"oracle": "a", "simans": "ab", "poisoned": "b", "inbatch": "c"},
        {"oracle": 0.01, "simans": 0.01, "poisoned": 0.01},
        "oracle",
        "poisoned",
    )
    assert short_answer(frame, {}) == [
        "On wordnet SIMANS leads: nDCG@10 0.480, against 0.460 of INBATCH and 0.200 of Untrained."
    ]


def test_a_reference_alike_to_the_first_leaves_no_leader_and_what_differs_is_counted() -> None:
    groups = {"simans": "ab", "ance": "b", "oracle": "b", "inbatch": "bc", "gist": "c"}
    end = "no leader can be told apart: nDCG@10 up to 0.490, against 0.460 of INBATCH and 0.200 of Untrained."
    for p, said in (
        ({"simans": 0.01, "ance": 0.04, "gist": 0.9}, "2 of 3 methods differ from INBATCH, but"),
        ({"simans": 0.01, "ance": 0.06, "gist": 0.9}, "1 of 3 methods differs from INBATCH, but"),
        ({"simans": 0.11, "ance": 0.06, "gist": 0.9}, "none of 3 methods differs from INBATCH, and"),
    ):
        assert short_answer(outcome(groups, {**p, "oracle": 0.01}, "oracle"), {}) == [
            f"On wordnet {said} {end}"
        ]


def test_a_reference_that_is_first_leads_only_alone() -> None:
    alone = outcome({"inbatch": "a", "simans": "b"}, {"simans": 0.01})
    assert short_answer(alone, {}) == ["On wordnet INBATCH leads: nDCG@10 0.490, against 0.200 of Untrained."]
    shared = outcome({"inbatch": "a", "ance": "a", "simans": "b"}, {"ance": 0.4, "simans": 0.01})
    assert short_answer(shared, {})[0].startswith(
        "On wordnet 1 of 2 methods differs from INBATCH, but no leader"
    )


def test_a_ranking_that_tells_nothing_has_no_leader() -> None:
    assert short_answer(board({"simans": "a", "inbatch": "a"}, tells=False), {}) == [
        "On wordnet no difference between methods is shown."
    ]


def test_a_baseline_above_them_all_is_named() -> None:
    frame = board({"simans": "a", "inbatch": "b"})
    lexical = frame[frame["row"] == "untrained"].assign(row="bm25_search", title="BM25 search", value=0.52)
    lexical = lexical.assign(**{f"nDCG@10/{part}/mean": 0.52 for part in ("all", "unseen")})
    assert short_answer(pd.concat([frame, lexical]), {}) == [
        "On wordnet SIMANS leads: nDCG@10 0.490, against 0.480 of INBATCH and 0.200 of Untrained. None reaches "
        "BM25 search (0.520)."
    ]
