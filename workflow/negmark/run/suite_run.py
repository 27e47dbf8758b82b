"""One call of snakemake: the suite that it runs, what it makes again, and what it says at its end."""

from collections.abc import Callable, Mapping
from typing import Any

from negmark.run.repair import damaged_results, note_repairs
from negmark.run.second_plan import go_on_without
from negmark.run.start import begin, check_folder
from negmark.run.terminal import closing_words, one_line_a_job
from negmark.suite.layout import Layout
from negmark.suite.open import open_suite


class SuiteRun:
    """A suite, laid out, and the hooks around its run; `workflow` is Snakemake's own object."""

    def __init__(self, workflow: Any, layout: Layout) -> None:
        self.layout = layout
        self._workflow = workflow
        self._damaged = damaged_results(layout) if workflow.is_main_process else []

    @property
    def repaired(self) -> Callable[[Any], list[str]]:
        """An input that is no file, for every goal: damaged results that it depends on are made again.

        A goal asks it when the plan is made, which is late enough for there to be one.
        """

        def forced(wildcards: Any) -> list[str]:
            self._workflow.dag.forcefiles.update(self._damaged)
            return []

        return forced

    def start(self) -> None:
        """Begin: alone in this folder, what killed writers left cleared away, repairs noted."""
        begin(self._damaged)

    def board_without_failures(self) -> None:
        """After an error, make the board once more without the rows that failed, if any did."""
        go_on_without(self.layout.recorded_failures())

    def finish(self) -> None:
        """Say where the board lies; nothing is left to repair."""
        note_repairs([])
        if "reproduce" not in self._workflow.dag_settings.targets:  # which ends with its own table
            print(closing_words(self.layout.paths.board, untuned=self.layout.untuned))


def open_run(workflow: Any, config: Mapping[str, Any]) -> SuiteRun:
    """Open the suite that a call of snakemake asks for; a mistake in it, or a folder that can't be written, ends it."""
    one_line_a_job()
    if workflow.is_main_process:
        check_folder()
    return SuiteRun(workflow, open_suite(config, workflow.configfiles))
