# The same batches as in train: one rule each, with the seeds only in its file names.
for SEEDS in LAYOUT.batches():

    rule:
        name:
            f"evaluate_{'_'.join(map(str, SEEDS))}"
        input:
            unpack(lambda wildcards: PATHS.shared(DATASETS[wildcards.dataset])),
            models=lambda wildcards, seeds=SEEDS: PATHS.models(
                DATASETS[wildcards.dataset], ROWS[wildcards.row], seeds
            ),
            texts=lambda wildcards: PATHS.texts(DATASETS[wildcards.dataset], ROWS[wildcards.row]),
            sources=lambda wildcards: evaluation_sources(DATASETS[wildcards.dataset], ROWS[wildcards.row]),
        output:
            metrics=PATHS.outputs(SEEDS, "metrics.json"),
            per_query=PATHS.outputs(SEEDS, "per_query.parquet"),
            runs=PATHS.outputs(SEEDS, "run.trec.gz"),
        log:
            f"results/logs/evaluate/{{suite}}/{{dataset}}/{{row}}/seed-{SEEDS[0]}.log",
        group:
            lambda wildcards: LAYOUT.resources.group(ROWS[wildcards.row])
        threads: lambda wildcards: ROWS[wildcards.row].threads
        resources:
            mem_mb=memory(2000, lambda wildcards: FOOTPRINT.vectors(DATASETS[wildcards.dataset])),
            runtime="2h",
            gpu=lambda wildcards: LAYOUT.resources.evaluation_gpus(ROWS[wildcards.row]),
        params:
            module=lambda wildcards: DATASETS[wildcards.dataset].evaluator,
            about=lambda wildcards: LAYOUT.about.runs(DATASETS[wildcards.dataset], ROWS[wildcards.row]),
            dataset=lambda wildcards, input: Path(input.qrels).parent,
            vectors=lambda wildcards, input: Path(input.documents).parent,
            models=lambda wildcards, input: Path(input.models[0]).parent.parent,
        shell:
            "NEGMARK_LOG={log:q} python -m {params.module} {output.metrics:q} --about {params.about:q}"
            " --dataset {params.dataset:q} --vectors {params.vectors:q} --threads {threads}"
            " --models {params.models:q} || python -m negmark.core.failure_record {log:q} $?"


rule evaluate_baseline:
    input:
        unpack(lambda wildcards: PATHS.shared(DATASETS[wildcards.dataset])),
        sources=lambda wildcards: sources(DATASETS[wildcards.dataset].evaluator),
    output:
        metrics="results/runs/{suite}/{dataset}/{baseline}/metrics.json",
        per_query="results/runs/{suite}/{dataset}/{baseline}/per_query.parquet",
        run="results/runs/{suite}/{dataset}/{baseline}/run.trec.gz",
    log:
        "results/logs/evaluate/{suite}/{dataset}/{baseline}.log",
    resources:
        mem_mb=memory(
            2000, lambda wildcards: FOOTPRINT.baseline(DATASETS[wildcards.dataset], wildcards.baseline)
        ),
        runtime="2h",
    params:
        module=lambda wildcards: DATASETS[wildcards.dataset].evaluator,
        about=lambda wildcards: LAYOUT.about.baseline(DATASETS[wildcards.dataset], wildcards.baseline),
        dataset=lambda wildcards, input: Path(input.qrels).parent,
        vectors=lambda wildcards, input: (
            f"--vectors {Path(input.documents).parent}" if wildcards.baseline == "untrained" else ""
        ),
    shell:
        "NEGMARK_LOG={log:q} python -m {params.module} {output.metrics:q} --about {params.about:q}"
        " --dataset {params.dataset:q} {params.vectors} --threads {threads}"


# A gate's baseline is evaluated separately, like its published value: BM25 with that value's k1 and b. Gates run before
# any training: a wrong baseline should be known within minutes.
rule gate:
    input:
        unpack(lambda wildcards: LAYOUT.gate_inputs(wildcards.gate)),
        sources=lambda wildcards: sources(*LAYOUT.gate_modules(wildcards.gate)),
    output:
        metrics="results/gates/{suite}/{gate}/metrics.json",
        per_query="results/gates/{suite}/{gate}/per_query.parquet",
        run="results/gates/{suite}/{gate}/run.trec.gz",
    log:
        "results/logs/gates/{suite}/{gate}.log",
    wildcard_constraints:
        gate=LAYOUT.gate_pattern(trained=False),
    priority: 20
    resources:
        mem_mb=memory(2000),
        runtime="2h",
    params:
        about=lambda wildcards: LAYOUT.about.gate(wildcards.gate),
        dataset=lambda wildcards, input: Path(input.qrels).parent,
        vectors=lambda wildcards, input: (
            f"--vectors {Path(input.documents).parent}" if "documents" in input.keys() else ""
        ),
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.evaluate.evaluate {output.metrics:q} --about {params.about:q}"
        " --dataset {params.dataset:q} {params.vectors} --threads {threads}"


# Of a trained row: the mean over its seeds.
rule trained_gate:
    input:
        metrics=lambda wildcards: LAYOUT.gate_runs(wildcards.gate),
        sources=sources("negmark.evaluate.gate_of_runs"),
    output:
        metrics="results/gates/{suite}/{gate}/metrics.json",
    log:
        "results/logs/gates/{suite}/{gate}.log",
    wildcard_constraints:
        gate=LAYOUT.gate_pattern(trained=True),
    resources:
        mem_mb=memory(1000),
        runtime="30m",
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.evaluate.gate_of_runs {input.metrics:q} --output {output.metrics:q}"


rule gates:
    input:
        metrics=expand("results/gates/{suite}/{gate}/metrics.json", suite=SUITE.suite, gate=SUITE.gates),
        damaged=RUN.repaired,
        sources=sources("negmark.evaluate.gates"),
    output:
        csv=report(
            f"{PATHS.board}/gates.csv",
            caption="../report/gates.rst",
            category="Gates",
            labels={"form": "table"},
        ),
        markdown=report(
            f"{PATHS.board}/gates.md",
            caption="../report/gates.rst",
            category="Gates",
            labels={"form": "text"},
        ),
    log:
        f"results/logs/gates/{SUITE.suite}.log",
    priority: 20
    resources:
        mem_mb=memory(1000),
        runtime="30m",
    params:
        gates=LAYOUT.specs.gates(),
        folder=lambda wildcards, output: Path(output.csv).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.evaluate.gates {input.metrics:q} --gates {params.gates:q}"
        " --folder {params.folder:q}"


# What is on the board, for the stages that read all of its runs and for scripts that draw a paper's figures.
rule contents:
    input:
        sources=sources("negmark.store.contents"),
    output:
        contents=PATHS.contents,
    log:
        f"results/logs/contents/{SUITE.suite}.log",
    localrule: True
    params:
        contents=CONTENTS.model_dump_json(),
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.store.contents --contents {params.contents:q} --output {output:q}"


rule audit:
    input:
        contents=rules.contents.output.contents,
        ledgers=lambda wildcards: [run / "negatives.parquet" for run in CONTENTS.runs(wildcards.dataset)],
        histories=lambda wildcards: [run / "history.parquet" for run in CONTENTS.runs(wildcards.dataset)],
        manifests=lambda wildcards: [run / "manifest.json" for run in CONTENTS.runs(wildcards.dataset)],
        documents=lambda wildcards: f"{PATHS.collection(DATASETS[wildcards.dataset])}/documents.parquet",
        qrels=lambda wildcards: PATHS.shared(DATASETS[wildcards.dataset])["qrels"],
        sources=sources("negmark.evaluate.audit"),
    output:
        table=f"{PATHS.board}/audit/{{dataset}}.csv",
    log:
        f"results/logs/audit/{SUITE.suite}/{{dataset}}.log",
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    params:
        dataset=lambda wildcards, input: Path(input.qrels).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.evaluate.audit --contents {input.contents:q}"
        " --name {wildcards.dataset:q} --dataset {params.dataset:q} --output {output.table:q}"


# Judges files of given negatives before anything is trained.
rule audit_given:
    input:
        tables=LAYOUT.given_inputs("table"),
        qrels=LAYOUT.given_inputs("qrels"),
        documents=LAYOUT.given_inputs("documents"),
        queries=LAYOUT.given_inputs("queries"),
        sources=sources("negmark.evaluate.audit_given"),
    output:
        table=f"results/given/{SUITE.suite}.csv",
    log:
        f"results/logs/audit_given/{SUITE.suite}.log",
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    params:
        given=LAYOUT.given_entries(),
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.evaluate.audit_given --output {output.table:q} {params.given:q}"


rule foresight:
    input:
        unpack(lambda wildcards: PATHS.shared(DATASETS[wildcards.dataset])),
        contents=rules.contents.output.contents,
        ledgers=lambda wildcards: [run / "negatives.parquet" for run in CONTENTS.runs(wildcards.dataset)],
        manifests=lambda wildcards: [run / "manifest.json" for run in CONTENTS.runs(wildcards.dataset)],
        sources=sources("negmark.evaluate.foresight"),
    output:
        table=f"{PATHS.board}/foresight/{{dataset}}.csv",
    log:
        f"results/logs/foresight/{SUITE.suite}/{{dataset}}.log",
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    params:
        dataset=lambda wildcards, input: Path(input.qrels).parent,
        vectors=lambda wildcards, input: Path(input.documents).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.evaluate.foresight --contents {input.contents:q}"
        " --name {wildcards.dataset:q} --dataset {params.dataset:q} --vectors {params.vectors:q}"
        " --output {output.table:q}"
