rule leaderboard:
    input:
        cards=list(CONTENTS.cards.values()),
        metrics=CONTENTS.files("metrics.json"),
        manifests=[run / "manifest.json" for run in CONTENTS.runs()],
        figures=expand(
            f"{LAYOUT.board}/figures/{{dataset}}-{{figure}}.svg",
            dataset=CONTENTS.cards,
            figure=["quality", "scores"],
        ),
        sources=sources("workflow.leaderboard"),
        template=["workflow/report/leaderboard.html"],
    output:
        csv=f"{LAYOUT.board}/leaderboard.csv",
        markdown=f"{LAYOUT.board}/leaderboard.md",
        html=f"{LAYOUT.board}/leaderboard.html",
        summary=f"{LAYOUT.board}/summary.txt",
    params:
        contents=CONTENTS.model_dump_json(),
        settings=LAYOUT.board_settings(),
        folder=LAYOUT.board,
    log:
        f"results/logs/leaderboard/{LAYOUT.suite.suite}.log",
    resources:
        mem_mb=2000,
        runtime="30m",
    conda:
        "../envs/negbench.yaml"
    shell:
        "NEGBENCH_LOG={log:q} python -m workflow.leaderboard --contents {params.contents:q}"
        " --settings {params.settings:q} --folder {params.folder:q}"


rule figures:
    input:
        metrics=lambda wildcards: CONTENTS.files("metrics.json", wildcards.dataset),
        scores=lambda wildcards: [run / "scores.parquet" for run in CONTENTS.runs(wildcards.dataset)],
        sources=sources("workflow.figures"),
        style=["workflow/report/negbench.mplstyle"],
    output:
        multiext(f"{LAYOUT.board}/figures/{{dataset}}-quality", ".svg", ".png", ".pdf", ".csv", ".txt"),
        multiext(f"{LAYOUT.board}/figures/{{dataset}}-scores", ".svg", ".png", ".pdf", ".csv", ".txt"),
    params:
        contents=CONTENTS.model_dump_json(),
        folder=f"{LAYOUT.board}/figures",
    log:
        f"results/logs/figures/{LAYOUT.suite.suite}/{{dataset}}.log",
    resources:
        mem_mb=2000,
        runtime="30m",
    conda:
        "../envs/negbench.yaml"
    shell:
        "NEGBENCH_LOG={log:q} python -m workflow.figures --contents {params.contents:q}"
        " --dataset {wildcards.dataset:q} --folder {params.folder:q}"
