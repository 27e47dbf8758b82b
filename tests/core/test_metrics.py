"""A metric is called by its name in ir_measures; one that can't be computed is refused in one line."""

import pytest

from negmark.core.metrics import DEFAULT, canonical, decimals, depth, is_fraction, measure
from negmark.data.catalogue import STS_TASKS


@pytest.mark.parametrize(
    ("given", "name"),
    [
        *zip(DEFAULT, DEFAULT, strict=True), ("MRR@10", "RR@10"), ("NDCG@5", "nDCG@5"), ("Recall@20", "R@20"),
        ("MAP", "AP"), ("P(rel=2)@5", "P(rel=2)@5"), ("RR(rel=1)@10", "RR@10"), ("P( rel = 2 ) @ 5", "P(rel=2)@5"),
        ("SetF(beta=0.5)", "SetF(beta=0.5)"),
    ],
)  # fmt: skip
def test_a_name_is_written_as_ir_measures_writes_it(given, name):
    assert canonical(given) == canonical(name) == name
    assert is_fraction(name)
    assert decimals(name) == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ndcg@10", r"unknown metric; did you mean 'nDCG@10'\? allowed: AP, .*nDCG$"),
        ("recall@100", r"unknown metric; did you mean 'R@100'\?"),
        ("quality", "unknown metric; allowed: AP"),
        ("", "not written as a metric is; write nDCG@10, RR@10, R@100 or"),
        ("nDCG@10/all", "not written as a metric is"),
        ("P@5@6", "not written as a metric is"),
        ("__import__('os').getcwd()", "not written as a metric is"),
        ("RR(**{'a': 1})@10", "not written as a metric is"),
        ("P", r"P needs a number after @ \(cutoff\)"),
        ("P@0", r"the cut after @ must lie in 1\.\.100"),
        ("R@1000", r"100 documents of a query are ranked: the cut after @ must lie in 1\.\.100"),
        ("P@True", "cutoff of the metric P can't be True"),
        ("P(depth=3)@5", "P has no parameter 'depth'; it takes: cutoff, rel, judged_only"),
        ("P(rel=0)@5", "rel must be 1 or more"),
        ("NumRet", r"counts things and says nothing of quality"),
        ("alpha_nDCG@10", "computed by none of pytrec_eval, msmarco, judged, compat"),
        ("ERR@20", "computed by none of"),
        ("nDCG(gains={0:'a'})@10", "can't be computed: TypeError"),
        ("IPrec@5", "recall of the metric IPrec can't be 5"),
    ],
)
def test_what_cannot_be_computed_is_refused_in_one_line(name, said):
    with pytest.raises(ValueError, match=said) as caught:
        canonical(name)
    assert "\n" not in str(caught.value)
    assert "0x" not in str(caught.value)


def test_the_grade_of_a_dataset_is_taken_where_the_name_says_none():
    assert str(measure("RR@10", 2)) == "RR(rel=2)@10"
    assert str(measure("P(rel=3)@5", 2)) == "P(rel=3)@5"
    assert str(measure("nDCG@10", 2)) == "nDCG@10"
    assert str(measure("R@100")) == "R@100"


def test_a_metric_looks_as_deep_as_its_cut():
    assert [depth(measure(name)) for name in ("P@5", "nDCG@100", "AP", "Rprec")] == [5, 100, 100, 100]
    assert depth(measure("nDCG(judged_only=True)@10")) == 100, (
        "what isn't judged makes room for what stands below"
    )


@pytest.mark.parametrize("name", ["STS", *STS_TASKS])
def test_correlations_are_no_fractions(name):
    assert not is_fraction(name)
    assert decimals(name) == 2
