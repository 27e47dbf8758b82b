"""Where all files of a suite are. All paths are relative to the folder that snakemake runs in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from negmark.core.files import short_hash
from negmark.core.names import BASELINES
from negmark.core.run_folders import run_folder
from negmark.encode.shards import part_name
from negmark.store.auxiliary import KINDS
from negmark.suite import own_files
from negmark.suite.datasets import Dataset
from negmark.suite.rows import Row
from negmark.suite.settings import RerankSettings
from negmark.suite.suite import Suite

BOARDS, MANIFEST = "results/leaderboards", "manifest.json"
GIVEN = "given"
"""The pool of negatives that a dataset's own file gives."""
VERDICTS = "verdicts"
"""The pool of documents on which a dataset's own file has verdicts."""
JUDGMENTS = "judgments.safetensors"
"""What a row that teaches by scores leaves beside each of its models."""
BASELINE = "|".join(BASELINES)


class Paths:
    """The files and folders of a suite: its board, the work that its runs share, and the runs."""

    def __init__(self, suite: Suite, committed: str | None = None) -> None:
        self._suite = suite
        self.committed = f"{BOARDS}/{committed or suite.suite}"
        """The board that users see; it is in the repository."""
        self.rebuilds = committed is not None
        """Whether the board is rebuilt beside it, to be compared with it."""
        self.board = f"results/reproduced/{committed}" if self.rebuilds else self.committed
        self.manifest = f"{self.board}/{MANIFEST}"
        """What the board says about where it came from."""
        self.contents = f"{self.board}/contents.json"
        """What is on the board, and so which runs it is made of."""
        self.tuned = f"{self.committed}/tuned.json"
        self.trials = f"results/trials/{suite.suite}"
        self.wandb = f"results/tracking/{suite.suite}.json"
        self.wandb_board = f"results/tracking/{suite.suite}.board.json"
        self.runs = f"results/runs/{suite.suite}"

    def collection(self, dataset: Dataset) -> str:
        """Return the folder of a prepared dataset."""
        return f"results/datasets/{dataset.collection}"

    def card(self, dataset: Dataset) -> str:
        """Return the card of a prepared dataset."""
        return f"{self.collection(dataset)}/card.json"

    def collection_files(self, dataset: Dataset) -> list[str]:
        """Return what the dataset stage leaves of a dataset."""
        tables = (
            f"{self.collection(dataset)}/{table}.parquet" for table in ("documents", "queries", "qrels")
        )
        return [*tables, self.card(dataset)]

    def vectors(self, dataset: Dataset, teacher: bool = False) -> str:
        """Return the folder of a dataset's embeddings by the encoder or by the teacher."""
        return f"results/embeddings/{dataset.collection}/{self._suite.encoder_key(teacher)}"

    def vector_facts(self, dataset: Dataset, teacher: bool = False) -> str:
        """Return the file about a dataset's vectors."""
        return f"{self.vectors(dataset, teacher)}/embeddings.json"

    def warmup(self, collection: str, encoder: str) -> list[str]:
        """Return the weights of the warmed-up encoder that folder names belong to; none where there is none."""
        warm = self._suite.warms_up() and encoder != self.teacher_key
        return [f"results/warmups/{collection}/{encoder}/model.safetensors"] if warm else []

    def warmup_of(self, dataset: Dataset) -> list[str]:
        """Return the weights of the warmed-up encoder that a dataset's runs start from; none where there is none."""
        return self.warmup(dataset.collection, self._suite.encoder_key())

    @property
    def teacher_key(self) -> str | None:
        """The folder name of the teacher; None where the encoder is asked."""
        return self._suite.encoder_key(teacher=True) if self._suite.teacher_encoder is not None else None

    def encoder_of(self, dataset: Dataset) -> dict[str, Any]:
        """Return the settings of the encoder from which a dataset's runs start: of the warmed-up one, if any."""
        settings = self._suite.start()
        if self._suite.warms_up():
            folder = f"results/warmups/{dataset.collection}/{self._suite.encoder_key()}"
            settings |= {"reinit_top": 0, "warmup_steps": 0}
            if "table" in settings:
                settings["table"] |= {"start": folder}
            else:
                settings["model"] = folder
        return settings

    def encode_parts(self, folder: str) -> list[str]:
        """Return the records of the jobs that encode a share each into a folder; none where one job encodes all."""
        parts = self._suite.shards.encode
        return [f"{folder}/{part_name(part, parts)}" for part in range(parts)] if parts > 1 else []

    def pool(self, dataset: Dataset, kind: str) -> str:
        """Return the file of a candidate pool. One by BM25 knows of no encoder, nor does a given one."""
        if kind == GIVEN:
            return f"results/pools/{dataset.collection}/{GIVEN}/{short_hash(dataset.given_files)}/{GIVEN}.safetensors"
        if kind == VERDICTS:
            of = short_hash(dataset.verdict_files)
            return f"results/pools/{dataset.collection}/{VERDICTS}/{of}/{VERDICTS}.safetensors"
        owner = self._suite.encoder_key() if kind == "dense" else "bm25"
        return f"results/pools/{dataset.collection}/{owner}/{self._suite.pool_key()}/{kind}.safetensors"

    def given(self, dataset: Dataset) -> str:
        """Return the table of all that a dataset's file gives to its training queries."""
        return str(Path(self.pool(dataset, GIVEN)).with_suffix(".parquet"))

    def pools(self, dataset: Dataset, row: Row) -> dict[str, str]:
        """Return the pools that a row's method reads, by kind."""
        return {kind: self.pool(dataset, kind) for kind in sorted(row.method.pools)}

    def pool_shares(self, kind: str) -> tuple[int, int]:
        """Return into how many shares of documents and of queries the search for a pool is split."""
        shards = self._suite.shards
        return shards.documents if kind == "dense" else 1, shards.queries

    def pool_parts(self, folder: str, kind: str) -> list[str]:
        """Return the parts of a pool's search in a folder, in their order; none where one job searches all."""
        documents, queries = self.pool_shares(kind)
        count, place = documents * queries, f"{folder}/{kind}-parts/{documents}x{queries}"
        return [f"{place}/{part}.safetensors" for part in range(count)] if count > 1 else []

    def shared(self, dataset: Dataset) -> dict[str, str]:
        """Return the shared inputs of a dataset's runs: tables and vectors, by name."""
        return {
            "qrels": f"{self.collection(dataset)}/qrels.parquet",
            **{side: f"{self.vectors(dataset)}/{side}.npy" for side in ("documents", "queries")},
        }

    def teacher(self, dataset: Dataset, row: Row) -> list[str]:
        """Return the teacher's document vectors where a row's method asks a teacher other than the encoder."""
        has_teacher = row.asks_teacher and self._suite.teacher_encoder
        return [f"{self.vectors(dataset, teacher=True)}/documents.npy"] if has_teacher else []

    def teachers(self, dataset: Dataset, row: Row, seeds: Sequence[int]) -> list[str]:
        """Return the models that teach a row's runs, one for each seed, where the teacher is a row of the suite."""
        asked = self._suite.teacher_row if row.asks_teacher else None
        return self._models(dataset.name, asked, seeds) if asked else []

    def judgments(self, dataset: Dataset, row: Row, seeds: Sequence[int]) -> list[str]:
        """Return the scores of the dense pool by the cross-encoder that teaches a row's runs, if one does.

        One file, or one for each seed, where the cross-encoder is trained with each.
        """
        ranker, trained = self._suite.teacher_ranker, self._suite.teacher_ranker_row
        if trained and row.asks_teacher:
            taught = seeds if trained.seed is None else [trained.seed]
            models = self._models(dataset.name, trained.ranker_row, taught)
            return [str(Path(model).with_name(JUDGMENTS)) for model in models]
        if ranker is None or not row.asks_teacher:
            return []
        pool = Path(self.pool(dataset, "dense")).relative_to("results/pools").parent
        return [f"results/judgments/{pool}/{self._suite.ranker_key(ranker)}.safetensors"]

    def judgment_parts(self, file: str) -> list[str]:
        """Return the records of the jobs that score a share each of what a file of judgments gathers, if several do."""
        parts, stem = self._suite.shards.judgments, file.removesuffix(".safetensors")
        return [f"{stem}-part-{part}-of-{parts}.json" for part in range(parts)] if parts > 1 else []

    def made_texts(self, dataset: Dataset, source: str) -> str:
        """Return the file of texts made of a dataset's positives by a source, `edits` or `written`."""
        return f"results/auxiliary/{dataset.collection}/{source}-{self._texts_key(source)}/texts.jsonl"

    def judged_texts(self, dataset: Dataset, source: str) -> str:
        """Return the table of what a source makes, judged; of `retrieved` it is what BM25 and the encoder find."""
        suite = self._suite
        judge = short_hash([suite.judge(), suite.generator.judging()])
        folder = f"results/auxiliary/{dataset.collection}/{source}-{self._texts_key(source)}"
        return f"{folder}/judged-{judge}.parquet"

    def _texts_key(self, source: str) -> str:
        suite = self._suite
        pools = {
            "edits": suite.pools.bm25(),
            "written": {},
            "retrieved": [suite.pool_key(), suite.encoder_key()],
        }
        return short_hash([suite.generator.decides(source), pools[source]])

    def auxiliary(self, dataset: Dataset, row: Row) -> list[str]:
        """Return the tables of texts beside the corpus that a row's runs read, in the order of their numbers."""
        return [
            self.judged_texts(dataset, source)
            for source, kinds in KINDS.items()
            if row.text_kinds & set(kinds)
        ]

    def texts_table(self, dataset: Dataset) -> str:
        """Return the board's table of what the texts made for a dataset are, by kind."""
        return f"{self.board}/generated/{dataset.name}.csv"

    def texts(self, dataset: Dataset, row: Row) -> list[str]:
        """Return the texts, and the warmed-up encoder if any, where a row's runs encode texts again."""
        if not row.tier.reads_texts:
            return []
        tables = [f"{self.collection(dataset)}/{table}.parquet" for table in ("documents", "queries")]
        return [
            *tables,
            *self.warmup_of(dataset),
        ]  # an encoder is never warmed up where runs are evaluated alone

    def start(self, dataset: Dataset, row: Row, seeds: Sequence[int]) -> list[str]:
        """Return the models that a row's runs start from, one for each seed; none where they start from the encoder."""
        return self._models(dataset.name, row.start, seeds) if row.start else []

    def models(self, dataset: Dataset, row: Row, seeds: Sequence[int]) -> list[str]:
        """Return the models that are evaluated on a dataset: those of its own runs or of the runs it names."""
        return self._models(dataset.home, row.name, seeds)

    def _models(self, dataset: str, row: str, seeds: Sequence[int]) -> list[str]:
        return self.run_files(dataset, row, seeds, "model.safetensors")

    def run_files(self, dataset: str, row: str, seeds: Sequence[int], file: str) -> list[str]:
        """Return a file of a row's runs, one for each seed; the dataset is the collection that they were trained on."""
        return [f"{self.runs}/{dataset}/{row}/{run_folder(seed)}/{file}" for seed in seeds]

    def grid(self, dataset: Dataset) -> str:
        """Return the file of the learning rates that all rows try on a dataset."""
        return f"{self.trials}/{dataset.name}/grid.json"

    def tried(self, dataset: Dataset, row: Row, stage: str) -> str:
        """Return the file of the trials of a row that a stage of tuning leaves: `rates` or `values`."""
        return f"{self.trials}/{dataset.name}/{row.name}/{stage}.json"

    def inputs(self, dataset: Dataset, row: Row, seeds: Sequence[int]) -> dict[str, Any]:
        """Return what a row's runs of these seeds are trained from, by name; the seeds are those of `start`."""
        return {
            **self.shared(dataset),
            "card": self.card(dataset),
            "facts": self.vector_facts(dataset),
            "pools": list(self.pools(dataset, row).values()),
            "teacher": self.teacher(dataset, row),
            "start": self.start(dataset, row, seeds),
            "teachers": self.teachers(dataset, row, seeds),
            "judgments": self.judgments(dataset, row, seeds),
            "texts": self.texts(dataset, row),
            "auxiliary": self.auxiliary(dataset, row),
            "own": own_files.inputs(self.ranker_files(row)),
            "graph": [f"{self.collection(dataset)}/documents.parquet"] if row.needs_graph else [],
            "origins": [f"{self.collection(dataset)}/queries.parquet"] if row.needs_sources else [],
        }

    def ranker_files(self, row: Row) -> list[str]:
        """Return the files of the cross-encoder that a row's runs start from, where the suite names its folder."""
        return own_files.of_model(row.budget.model) if isinstance(row.budget, RerankSettings) else []

    def options(self, dataset: Dataset, row: Row) -> str:
        """Return the same as options of the stage that trains, what depends on seeds aside."""
        pools = [f"--pool {kind}={path}" for kind, path in self.pools(dataset, row).items()]
        teachers = [f"--teacher {Path(file).parent}" for file in self.teacher(dataset, row)]
        places = [f"--dataset {self.collection(dataset)}", f"--vectors {self.vectors(dataset)}"]
        beside = [f"--auxiliary {file}" for file in self.auxiliary(dataset, row)]
        return " ".join([*places, *pools, *teachers, *beside])

    def outputs(self, seeds: Sequence[int], file: str) -> list[str]:
        """Return a file of the runs of these seeds, dataset and row as wildcards."""
        return [f"results/runs/{{suite}}/{{dataset}}/{{row}}/{run_folder(seed)}/{file}" for seed in seeds]

    def audit(self, dataset: Dataset) -> str:
        """Return the audit of a dataset's runs."""
        return f"{self.board}/audit/{dataset.name}.csv"

    def gate_tables(self) -> list[str]:
        """Return what is there only once all gates hold; nothing in a suite without gates."""
        return [f"{self.board}/gates.csv", f"{self.board}/gates.md"] if self._suite.gates else []
