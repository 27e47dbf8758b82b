rule differences:
    input:
        contents=rules.contents.output.contents,
        cards=expand(f"{PATHS.board}/cards/{{dataset}}.json", dataset=CONTENTS.cards),
        metrics=CONTENTS.files("metrics.json"),
        manifests=[run / "manifest.json" for run in CONTENTS.runs(*CONTENTS.trained())],
        per_query=CONTENTS.files("per_query.parquet"),
        sources=sources("negmark.compare.differences"),
    output:
        f"{PATHS.board}/differences.csv",
    log:
        f"results/logs/differences/{SUITE.suite}.log",
    resources:
        mem_mb=memory(4000),
        runtime="1h",
    params:
        reference=LAYOUT.reference,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.compare.differences --contents {input.contents:q}"
        " --reference {params.reference:q} --output {output:q}"


rule truth:
    input:
        contents=rules.contents.output.contents,
        audit=f"{PATHS.board}/audit/{{dataset}}.csv",
        metrics=lambda wildcards: CONTENTS.files("metrics.json", wildcards.dataset),
        manifests=lambda wildcards: [run / "manifest.json" for run in CONTENTS.runs(wildcards.dataset)],
        per_query=lambda wildcards: CONTENTS.files("per_query.parquet", wildcards.dataset),
        sources=sources("negmark.compare.truth"),
    output:
        table=f"{PATHS.board}/truth/{{dataset}}.csv",
    log:
        f"results/logs/truth/{SUITE.suite}/{{dataset}}.log",
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.compare.truth --contents {input.contents:q}"
        " --name {wildcards.dataset:q} --audit {input.audit:q} --output {output.table:q}"


rule claims:
    input:
        contents=rules.contents.output.contents,
        cards=expand(f"{PATHS.board}/cards/{{dataset}}.json", dataset=CONTENTS.cards),
        metrics=CONTENTS.files("metrics.json"),
        manifests=[run / "manifest.json" for run in CONTENTS.runs(*CONTENTS.trained())],
        per_query=CONTENTS.files("per_query.parquet"),
        curves=CONTENTS.curves(),
        sources=sources("negmark.compare.claims"),
    output:
        csv=report(
            f"{PATHS.board}/claims.csv",
            caption="../report/claims.rst",
            category="Claims",
            labels={"suite": SUITE.suite},
        ),
        markdown=f"{PATHS.board}/claims.md",
    log:
        f"results/logs/claims/{SUITE.suite}.log",
    resources:
        mem_mb=memory(4000),
        runtime="1h",
    params:
        claims=LAYOUT.specs.claims(),  # a parameter, not an input: only a change of the claims themselves re-runs this
        folder=lambda wildcards, output: Path(output.csv).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.compare.claims --contents {input.contents:q}"
        " --folder {params.folder:q}"
