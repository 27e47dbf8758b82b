rule manifest:
    input:
        table=rules.leaderboard.output.csv,
        cards=[LAYOUT.card(name) for name in CONTENTS.cards],
        facts=[path for paths in LAYOUT.facts().values() for path in paths.values()],
        manifests=[run / "manifest.json" for run in CONTENTS.runs(*CONTENTS.trained())],
        sources=sources("negmark.board.manifest"),
    output:
        manifest=report(
            LAYOUT.manifest,
            caption="../report/manifest.rst",
            category="Leaderboard",
            labels={"suite": LAYOUT.suite.suite, "form": "manifest"},
        ),
    log:
        f"results/logs/manifest/{LAYOUT.suite.suite}.log",
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    params:
        suite=lambda wildcards: canonical(LAYOUT.written.resolved()),
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.board.manifest"
        " --suite {params.suite:q} --table {input.table:q} --output {output.manifest:q}"


# Without an output, so that it compares and tells each time, and what it wrote outlasts a comparison that fails.
if LAYOUT.rebuilds:

    rule reproduce:
        input:
            manifest=rules.manifest.output.manifest,
            table=rules.leaderboard.output.csv,
            damaged=damaged_as_well,
        log:
            f"results/logs/reproduce/{LAYOUT.suite.suite}.log",
        localrule: True
        params:
            committed=LAYOUT.committed,
            rebuilt=LAYOUT.board,
        shell:
            "NEGMARK_LOG={log:q} python -m negmark.board.reproduce"
            " --committed {params.committed:q} --rebuilt {params.rebuilt:q}"

else:

    # The config of a board is in its manifest, so it takes a workflow of its own.
    rule reproduce:
        log:
            f"results/logs/reproduce/{LAYOUT.suite.suite}.log",
        localrule: True
        threads: 64
        params:
            snakefile=workflow.main_snakefile,
            suite=LAYOUT.suite.suite,
        shell:
            "python -m snakemake --snakefile {params.snakefile:q} --cores {threads}"
            " reproduce --config reproduce={params.suite:q} 2>&1 | tee {log:q} >&2"
