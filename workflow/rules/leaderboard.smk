from workflow.comparison import Entry, as_option, comparisons

# Which rows of two tiers are one method: where there are none, no figure of tiers is made.
COMPARISONS = comparisons(
    [
        Entry(
            row,
            kind=LAYOUT.suite.method(row).name,
            track=LAYOUT.suite.track(row),
            params=LAYOUT.suite.parameters(row),
            tier=tier,
            start=LAYOUT.suite.start(row),
        )
        for row, tier in CONTENTS.tiers.items()
    ]
)


rule differences:
    input:
        cards=expand(rules.card.output.card, dataset=CONTENTS.cards),
        metrics=CONTENTS.files("metrics.json"),
        manifests=[run / "manifest.json" for run in CONTENTS.runs(*CONTENTS.trained())],
        per_query=CONTENTS.files("per_query.parquet"),
        sources=sources("workflow.differences"),
    output:
        f"{LAYOUT.board}/differences.csv",
    log:
        f"results/logs/differences/{LAYOUT.suite.suite}.log",
    conda:
        "../envs/negbench.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        contents=CONTENTS.model_dump_json(),
        reference=LAYOUT.suite.reference,
    shell:
        "NEGBENCH_LOG={log:q} python -m workflow.differences --contents {params.contents:q}"
        " --reference {params.reference:q} --output {output:q}"


rule claims:
    input:
        metrics=CONTENTS.files("metrics.json"),
        manifests=[run / "manifest.json" for run in CONTENTS.runs(*CONTENTS.trained())],
        per_query=CONTENTS.files("per_query.parquet"),
        sources=sources("workflow.claims"),
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
    conda:
        "../envs/negbench.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        contents=CONTENTS.model_dump_json(),
        claims=LAYOUT.claims(),  # no input: an edit of a method that leaves its claims alone is none of these
        folder=lambda wildcards, output: Path(output.csv).parent,
    shell:
        "NEGBENCH_LOG={log:q} python -m workflow.claims --contents {params.contents:q}"
        " --folder {params.folder:q}"


rule leaderboard:
    input:
        differences=rules.differences.output,
        claims=rules.claims.output.csv,
        cards=expand(rules.card.output.card, dataset=CONTENTS.cards),
        metrics=CONTENTS.files("metrics.json"),
        manifests=[run / "manifest.json" for run in CONTENTS.runs(*CONTENTS.trained())],
        audits=expand(f"{LAYOUT.board}/audit/{{dataset}}.csv", dataset=LAYOUT.suite.known_truth()),
        figures=[
            *expand(
                f"{LAYOUT.board}/figures/{{dataset}}-{{figure}}.svg",
                dataset=CONTENTS.cards,
                figure=["quality", *(["tiers"] if COMPARISONS else [])],
            ),
            *expand(f"{LAYOUT.board}/figures/{{dataset}}-scores.svg", dataset=CONTENTS.trained()),
            *expand(f"{LAYOUT.board}/figures/{{dataset}}-curves.svg", dataset=LAYOUT.curved()),
        ],
        gates=LAYOUT.gate_tables(),
        sources=sources("workflow.leaderboard"),
        template=asset("workflow/report/leaderboard.html"),
        style=asset("workflow/report/leaderboard.css"),
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
    conda:
        "../envs/negbench.yaml"
    resources:
        mem_mb=2000,
        runtime="30m",
    params:
        contents=CONTENTS.model_dump_json(),
        settings=LAYOUT.board_settings(),
        folder=lambda wildcards, output: Path(output.csv).parent,
    shell:
        "NEGBENCH_LOG={log:q} python -m workflow.leaderboard --contents {params.contents:q}"
        " --settings {params.settings:q} --folder {params.folder:q}"


rule figures:
    input:
        metrics=lambda wildcards: CONTENTS.files("metrics.json", wildcards.dataset),
        scores=lambda wildcards: [
            run / "scores.parquet"
            for run in CONTENTS.runs(wildcards.dataset)
            if wildcards.figure == "scores"
        ],
        sources=sources("workflow.figures"),
        style=asset("workflow/report/negbench.mplstyle"),
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
        figure="quality|scores",
    conda:
        "../envs/negbench.yaml"
    resources:
        mem_mb=2000,
        runtime="30m",
    params:
        contents=CONTENTS.model_dump_json(),
        folder=lambda wildcards, output: Path(output[0]).parent,
    shell:
        "NEGBENCH_LOG={log:q} python -m workflow.figures --contents {params.contents:q}"
        " --dataset {wildcards.dataset:q} --figure {wildcards.figure} --folder {params.folder:q}"


rule agreement:
    input:
        metrics=lambda wildcards: CONTENTS.files("metrics.json", wildcards.dataset),
        sources=sources("workflow.agreement"),
        style=asset("workflow/report/negbench.mplstyle"),
    output:
        report(
            f"{LAYOUT.board}/figures/{{dataset}}-tiers.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"dataset": "{dataset}", "figure": "tiers"},
        ),
        multiext(f"{LAYOUT.board}/figures/{{dataset}}-tiers", ".png", ".pdf", ".csv", ".txt"),
    log:
        f"results/logs/agreement/{LAYOUT.suite.suite}/{{dataset}}.log",
    conda:
        "../envs/negbench.yaml"
    resources:
        mem_mb=2000,
        runtime="30m",
    params:
        contents=CONTENTS.model_dump_json(),
        comparisons=as_option(COMPARISONS),
        folder=lambda wildcards, output: Path(output[0]).parent,
    shell:
        "NEGBENCH_LOG={log:q} python -m workflow.agreement --contents {params.contents:q}"
        " --comparisons {params.comparisons:q} --dataset {wildcards.dataset:q} --folder {params.folder:q}"
