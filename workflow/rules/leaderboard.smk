from negmark.suite.figures import OF_DATASET, OF_SUITE, planned


rule differences:
    input:
        cards=expand(f"{LAYOUT.board}/cards/{{dataset}}.json", dataset=CONTENTS.cards),
        metrics=CONTENTS.files("metrics.json"),
        manifests=[run / "manifest.json" for run in CONTENTS.runs(*CONTENTS.trained())],
        per_query=CONTENTS.files("per_query.parquet"),
        sources=sources("negmark.compare.differences"),
    output:
        f"{LAYOUT.board}/differences.csv",
    log:
        f"results/logs/differences/{LAYOUT.suite.suite}.log",
    resources:
        mem_mb=memory(4000),
        runtime="1h",
    params:
        contents=CONTENTS.model_dump_json(),
        reference=LAYOUT.suite.reference,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.compare.differences --contents {params.contents:q}"
        " --reference {params.reference:q} --output {output:q}"


rule claims:
    input:
        metrics=CONTENTS.files("metrics.json"),
        manifests=[run / "manifest.json" for run in CONTENTS.runs(*CONTENTS.trained())],
        per_query=CONTENTS.files("per_query.parquet"),
        sources=sources("negmark.compare.claims"),
    output:
        csv=report(
            f"{LAYOUT.board}/claims.csv",
            caption="../report/claims.rst",
            category="Claims",
            labels={"suite": LAYOUT.suite.suite},
        ),
        markdown=f"{LAYOUT.board}/claims.md",
    log:
        f"results/logs/claims/{LAYOUT.suite.suite}.log",
    resources:
        mem_mb=memory(4000),
        runtime="1h",
    params:
        contents=CONTENTS.model_dump_json(),
        claims=LAYOUT.claims(),  # no input: an edit of a method that leaves its claims alone is none of these
        folder=lambda wildcards, output: Path(output.csv).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.compare.claims --contents {params.contents:q}"
        " --folder {params.folder:q}"


rule leaderboard:
    input:
        differences=rules.differences.output,
        claims=rules.claims.output.csv,
        cards=expand(f"{LAYOUT.board}/cards/{{dataset}}.json", dataset=CONTENTS.cards),
        metrics=CONTENTS.files("metrics.json"),
        manifests=[run / "manifest.json" for run in CONTENTS.runs(*CONTENTS.trained())],
        audits=expand(f"{LAYOUT.board}/audit/{{dataset}}.csv", dataset=LAYOUT.suite.known_truth()),
        foresight=expand(f"{LAYOUT.board}/foresight/{{dataset}}.csv", dataset=CONTENTS.trained()),
        figures=expand(f"{LAYOUT.board}/figures/{{stem}}.svg", stem=planned(CONTENTS)),
        gates=LAYOUT.gate_tables(),
        sources=sources("negmark.board.leaderboard"),
        template=asset("workflow/negmark/board/leaderboard.html"),
        style=asset("workflow/negmark/board/leaderboard.css"),
    output:
        csv=report(
            f"{LAYOUT.board}/leaderboard.csv",
            caption="../report/board.rst",
            category="Leaderboard",
            labels={"suite": LAYOUT.suite.suite, "form": "table"},
        ),
        markdown=f"{LAYOUT.board}/leaderboard.md",
        latex=f"{LAYOUT.board}/leaderboard.tex",
        html=report(
            f"{LAYOUT.board}/leaderboard.html",
            caption="../report/board.rst",
            category="Leaderboard",
            labels={"suite": LAYOUT.suite.suite, "form": "page"},
        ),
        summary=f"{LAYOUT.board}/summary.txt",
    log:
        f"results/logs/leaderboard/{LAYOUT.suite.suite}.log",
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    params:
        contents=CONTENTS.model_dump_json(),
        settings=lambda wildcards: LAYOUT.board_settings(),
        folder=lambda wildcards, output: Path(output.csv).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.board.leaderboard --contents {params.contents:q}"
        " --settings {params.settings:q} --folder {params.folder:q}"


rule figures:
    input:
        data=lambda wildcards: LAYOUT.figure_inputs(wildcards.figure, wildcards.dataset),
        sources=lambda wildcards: sources(f"negmark.board.figures.{wildcards.figure}"),
        style=asset("workflow/negmark/board/figures/negmark.mplstyle"),
    output:
        report(
            f"{LAYOUT.board}/figures/{{dataset}}-{{figure}}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"dataset": "{dataset}", "figure": "{figure}"},
        ),
        multiext(f"{LAYOUT.board}/figures/{{dataset}}-{{figure}}", ".png", ".pdf", ".csv", ".txt"),
    log:
        f"results/logs/figures/{LAYOUT.suite.suite}/{{dataset}}-{{figure}}.log",
    wildcard_constraints:
        figure="|".join(OF_DATASET),
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    params:
        contents=CONTENTS.model_dump_json(),
        folder=lambda wildcards, output: Path(output[0]).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.board.figures.{wildcards.figure} --contents {params.contents:q}"
        " --dataset {wildcards.dataset:q} --folder {params.folder:q}"


rule suite_figures:
    input:
        data=lambda wildcards: LAYOUT.figure_inputs(wildcards.figure, *CONTENTS.cards),
        sources=lambda wildcards: sources(f"negmark.board.figures.{wildcards.figure}"),
        style=asset("workflow/negmark/board/figures/negmark.mplstyle"),
    output:
        report(
            f"{LAYOUT.board}/figures/{{figure}}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"dataset": "all", "figure": "{figure}"},
        ),
        multiext(f"{LAYOUT.board}/figures/{{figure}}", ".png", ".pdf", ".csv", ".txt"),
    log:
        f"results/logs/figures/{LAYOUT.suite.suite}/{{figure}}.log",
    wildcard_constraints:
        figure="|".join(OF_SUITE),
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    params:
        contents=CONTENTS.model_dump_json(),
        folder=lambda wildcards, output: Path(output[0]).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.board.figures.{wildcards.figure} --contents {params.contents:q}"
        " --folder {params.folder:q}"
