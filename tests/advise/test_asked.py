"""What a config for advice may leave out, what is refused, and that it survives the way to a job."""

import re
from pathlib import Path

import pytest

from builders import ROOT
from negmark.advise.advise import asked_hash
from negmark.advise.asked import ADVISE, OF_SUITES, asked_from, asked_of, is_advice, open_asked
from negmark.advise.designs import check_whole, whole_config
from negmark.core.errors import UserError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("./mine", {"mine": {"source": "./mine"}}),
        ("/data/My Notes.tar.gz", {"my-notes": {"source": "/data/My Notes.tar.gz"}}),
        ("scifact", {"scifact": None}),
        ("hub:mteb/scifact", {"scifact": {"source": "hub:mteb/scifact"}}),
        ("ir_datasets:antique", {"antique": {"source": "ir_datasets:antique"}}),
        ({"a": "./x", "b": None, "c": {"source": "./y"}}, {"a": {"source": "./x"}, "b": None, "c": {"source": "./y"}}),
    ],
)  # fmt: skip
def test_a_folder_or_a_name_is_enough(given: object, made: dict) -> None:
    asked = asked_of({"datasets": given}, "mine.yaml")
    assert asked.config["datasets"] == made
    assert asked.suite == f"advice-{next(iter(made))}"
    assert (asked.settings.minutes, asked.settings.file) == (20.0, "tuples.jsonl")
    assert asked_from(asked.as_json()) == asked


def test_a_file_beside_the_config_is_a_path_without_a_slash(tmp_path: Path) -> None:
    (tmp_path / "notes.zip").touch()
    assert asked_of({"datasets": "notes.zip"}, "f").config["datasets"] == {"notes": {"source": "./notes.zip"}}


def test_what_the_user_sets_is_kept_and_the_section_is_no_key_of_a_suite() -> None:
    asked = asked_of({"datasets": "./m", "suite": "own", "seeds": [7], "advise": {"minutes": 5}}, "f")
    assert asked.suite == asked.config["suite"] == "own"
    assert asked.config["seeds"] == [7]
    assert "advise" not in asked.config
    assert asked.settings.minutes == 5


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "mine.yaml: datasets: name your collection: a file mine.yaml with the line `datasets: ./mine`"),
        ({"datasets": [1]}, "datasets: expected a folder, an archive or datasets by name, found [1]"),
        ({"datasets": {"a": 3}}, "datasets.a: expected a path, or keys and values, found 3"),
        ({"datasets": "./m", "tier": "finetune"}, "tier: advice is given in the tier static, found 'finetune'"),
        ({"datasets": "./m", "vary": {}}, "leave `vary` and `sweep` out"),
        ({"datasets": "./m", "advise": {"minuts": 1}}, "advise.minuts: unknown key; did you mean 'minutes'?"),
        ({"datasets": "./m", "advise": {"minutes": 0}}, "advise.minutes: input should be greater than 0, found 0"),
        ({"datasets": "./m", "advise": {"file": "x.csv"}}, "advise.file: input should be 'triplets.jsonl'"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_in_one_line(config: dict, said: str) -> None:
    with pytest.raises(UserError) as error:
        asked_of(config, "mine.yaml")
    assert said in str(error.value)


def test_a_board_that_no_advice_has_made_is_not_overwritten(tmp_path: Path) -> None:
    board = tmp_path / "results/leaderboards/quickstart"
    board.mkdir(parents=True)
    with pytest.raises(UserError, match="is a board that no advice has made"):
        asked_of({"datasets": "./m", "suite": "quickstart"}, "f")
    (tmp_path / "results/advice/quickstart").mkdir(parents=True)
    assert asked_of({"datasets": "./m", "suite": "quickstart"}, "f").suite == "quickstart"


def test_advice_is_asked_by_target_or_by_section() -> None:
    assert is_advice({}, ["--cores", "2", "advise"])
    assert is_advice({"advise": None}, ["--cores", "2"])
    assert not is_advice({"suite": "s"}, ["all", "results/advice/s/plan.json"])


def test_what_is_no_suite_and_targets_of_suites_are_refused_before_anything_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(config: dict, *arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            open_asked({"datasets": "./m", "advise": None, **config}, [], arguments, check_whole)
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert refused({"seeds": 3}) == "error: --config: seeds: input should be a valid list, found 3"
    assert "methods.simanss: unknown method 'simanss'; did you mean 'simans'?" in refused(
        {"methods": {"simanss": {}}}
    )
    assert refused({"datasets": {"Herb": "./m"}}).startswith("error: --config: datasets.Herb: ")
    assert "plan: with `advise:` there is one target, advise; the suite that it makes is " in refused(
        {}, "plan"
    )
    sentences = asked_of({"datasets": {"w": {"source": "./m", "kind": "sentences"}}}, "f")
    assert whole_config(sentences)["datasets"]["w"] == {"source": "./m", "kind": "sentences"}, (
        "no key of its own"
    )
    assert open_asked({"datasets": "wordnet"}, [], ["advise"], check_whole).suite == "advice-wordnet"


def test_the_targets_that_are_refused_are_those_of_the_rules() -> None:
    """A rule without files of its own is one to be asked for by name."""
    rules = [
        rule
        for file in (ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk"))
        for rule in re.split(r"^ *rule ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    ]
    named = {rule.split(":")[0] for rule in rules if not re.search(r"^ +output:", rule, flags=re.MULTILINE)}
    assert {"all", "plan", "to_judge"} <= named
    assert named <= {*OF_SUITES, ADVISE}
    assert set(OF_SUITES) <= {rule.split(":")[0] for rule in rules}


def test_a_change_of_the_users_files_is_another_question(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("{}\n")
    asked = asked_of({"datasets": {"m": {"source": str(folder)}, "wordnet": None}}, "f")
    first = asked_hash(asked)
    assert asked_hash(asked) == first
    (folder / "qrels" / "test.tsv").write_text("q\td\t1\n")
    assert asked_hash(asked) != first
