# A stage of its own, as it needs token counts: another tokenizer makes new cards, but no new dataset.
rule card:
    input:
        documents=lambda wildcards: f"{PATHS.collection(DATASETS[wildcards.dataset])}/documents.parquet",
        queries=lambda wildcards: f"{PATHS.collection(DATASETS[wildcards.dataset])}/queries.parquet",
        qrels=lambda wildcards: PATHS.shared(DATASETS[wildcards.dataset])["qrels"],
        card=lambda wildcards: PATHS.card(DATASETS[wildcards.dataset]),
        pools=lambda wildcards: LAYOUT.pools(DATASETS[wildcards.dataset]),
        sources=sources("negmark.board.card"),
    output:
        card=f"{PATHS.board}/cards/{{dataset}}.json",
        markdown=report(
            f"{PATHS.board}/cards/{{dataset}}.md",
            caption="../report/card.rst",
            category="Datasets",
            labels={"dataset": "{dataset}"},
        ),
    log:
        f"results/logs/cards/{SUITE.suite}/{{dataset}}.log",
    resources:
        mem_mb=memory(2000, lambda wildcards: FOOTPRINT.texts(DATASETS[wildcards.dataset])),
        runtime="1h",
    params:
        settings=canonical(SUITE.encoder.model_dump()),
        metric=SUITE.metrics[0],
        dataset=lambda wildcards, input: Path(input.card).parent,
        pools=lambda wildcards, input: [f"--pool {pool}" for pool in input.pools],
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.board.card {params.pools}"
        " --dataset {params.dataset:q} --settings {params.settings:q} --metric {params.metric:q}"
        " --output {output.card:q}"


# What texts made as negatives are: how many answer their query by the judge, and how many pass.
rule generated_texts:
    input:
        tables=lambda wildcards: list(LAYOUT.text_tables(DATASETS[wildcards.dataset]).values()),
        sources=sources("negmark.board.generated_texts"),
    output:
        table=f"{PATHS.board}/generated/{{dataset}}.csv",
    log:
        f"results/logs/generated_texts/{SUITE.suite}/{{dataset}}.log",
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    params:
        judge=SUITE.judge_text(),
        tables=lambda wildcards: [
            f"--table {source}={path}"
            for source, path in LAYOUT.text_tables(DATASETS[wildcards.dataset]).items()
        ],
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.board.generated_texts {params.tables}"
        " --judge {params.judge:q} --output {output.table:q}"


rule figures:
    input:
        contents=rules.contents.output.contents,
        data=lambda wildcards: LAYOUT.figure_inputs(wildcards.figure, wildcards.dataset),
        sources=lambda wildcards: sources(f"negmark.board.figures.{wildcards.figure}"),
        style=asset("workflow/negmark/board/figures/negmark.mplstyle"),
    output:
        report(
            f"{PATHS.board}/figures/{{dataset}}-{{figure}}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"dataset": "{dataset}", "figure": "{figure}"},
        ),
        multiext(f"{PATHS.board}/figures/{{dataset}}-{{figure}}", ".png", ".pdf", ".csv", ".txt"),
    log:
        f"results/logs/figures/{SUITE.suite}/{{dataset}}-{{figure}}.log",
    wildcard_constraints:
        figure="|".join(OF_DATASET),
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.board.figures.{wildcards.figure} --contents {input.contents:q}"
        " --dataset {wildcards.dataset:q} --folder {params.folder:q}"


rule suite_figures:
    input:
        contents=rules.contents.output.contents,
        data=lambda wildcards: LAYOUT.figure_inputs(wildcards.figure, *CONTENTS.cards),
        sources=lambda wildcards: sources(f"negmark.board.figures.{wildcards.figure}"),
        style=asset("workflow/negmark/board/figures/negmark.mplstyle"),
    output:
        report(
            f"{PATHS.board}/figures/{{figure}}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"dataset": "all", "figure": "{figure}"},
        ),
        multiext(f"{PATHS.board}/figures/{{figure}}", ".png", ".pdf", ".csv", ".txt"),
    log:
        f"results/logs/figures/{SUITE.suite}/{{figure}}.log",
    wildcard_constraints:
        figure="|".join(OF_SUITE),
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.board.figures.{wildcards.figure} --contents {input.contents:q}"
        " --folder {params.folder:q}"


rule leaderboard:
    input:
        contents=rules.contents.output.contents,
        differences=rules.differences.output,
        curves=CONTENTS.curves(),
        claims=rules.claims.output.csv,
        cards=expand(f"{PATHS.board}/cards/{{dataset}}.json", dataset=CONTENTS.cards),
        metrics=CONTENTS.files("metrics.json"),
        manifests=[run / "manifest.json" for run in CONTENTS.runs(*CONTENTS.trained())],
        audits=[PATHS.audit(dataset) for dataset in DATASETS.values() if dataset.is_home],
        truth=expand(f"{PATHS.board}/truth/{{dataset}}.csv", dataset=CONTENTS.hiding),
        foresight=expand(f"{PATHS.board}/foresight/{{dataset}}.csv", dataset=CONTENTS.trained()),
        figures=expand(f"{PATHS.board}/figures/{{stem}}.svg", stem=planned(CONTENTS)),
        gates=PATHS.gate_tables(),
        sources=sources("negmark.board.leaderboard"),
        templates=[
            *asset("workflow/negmark/board/leaderboard.html"),
            *asset("workflow/negmark/board/head.html"),
        ],
        style=asset("workflow/negmark/board/leaderboard.css"),
    output:
        csv=report(
            f"{PATHS.board}/leaderboard.csv",
            caption="../report/board.rst",
            category="Leaderboard",
            labels={"suite": SUITE.suite, "form": "table"},
        ),
        markdown=f"{PATHS.board}/leaderboard.md",
        latex=f"{PATHS.board}/leaderboard.tex",
        html=report(
            f"{PATHS.board}/leaderboard.html",
            caption="../report/board.rst",
            category="Leaderboard",
            labels={"suite": SUITE.suite, "form": "page"},
        ),
        summary=f"{PATHS.board}/summary.txt",
    log:
        f"results/logs/leaderboard/{SUITE.suite}.log",
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    params:
        settings=canonical(LAYOUT.board_settings()),
        folder=lambda wildcards, output: Path(output.csv).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.board.leaderboard --contents {input.contents:q}"
        " --settings {params.settings:q} --folder {params.folder:q}"


rule manifest:
    input:
        table=rules.leaderboard.output.csv,
        cards=[PATHS.card(dataset) for dataset in DATASETS.values()],
        facts=[path for paths in LAYOUT.vector_facts().values() for path in paths.values()],
        manifests=[run / "manifest.json" for run in CONTENTS.runs(*CONTENTS.trained())],
        sources=sources("negmark.board.manifest"),
    output:
        manifest=report(
            PATHS.manifest,
            caption="../report/manifest.rst",
            category="Leaderboard",
            labels={"suite": SUITE.suite, "form": "manifest"},
        ),
    log:
        f"results/logs/manifest/{SUITE.suite}.log",
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    params:
        suite=canonical(SUITE.resolved()),
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.board.manifest"
        " --suite {params.suite:q} --table {input.table:q} --output {output.manifest:q}"


# Without outputs, so that it compares and reports every time, and its files survive a comparison that fails.
if PATHS.rebuilds:

    rule reproduce:
        input:
            manifest=rules.manifest.output.manifest,
            table=rules.leaderboard.output.csv,
            damaged=RUN.repaired,
        log:
            f"results/logs/reproduce/{SUITE.suite}.log",
        localrule: True
        params:
            committed=PATHS.committed,
            rebuilt=PATHS.board,
        shell:
            "NEGMARK_LOG={log:q} python -m negmark.board.reproduce"
            " --committed {params.committed:q} --rebuilt {params.rebuilt:q}"

else:

    # The config of a board is in its manifest, so it needs a workflow of its own.
    rule reproduce:
        log:
            f"results/logs/reproduce/{SUITE.suite}.log",
        localrule: True
        threads: 64
        params:
            snakefile=workflow.main_snakefile,
            suite=SUITE.suite,
        shell:
            "python -m snakemake --snakefile {params.snakefile:q} --cores {threads}"
            " reproduce --config reproduce={params.suite:q} 2>&1 | tee {log:q} >&2"
