"""One call of snakemake: the suite it runs, what it makes again, and what it prints at the end."""

from collections.abc import Callable, Mapping
from typing import Any

from negmark.core.stage import show_any_sign
from negmark.run.repair import damaged_results, note_repairs
from negmark.run.scheduling import only_when_a_job_ends
from negmark.run.second_plan import go_on_without
from negmark.run.start import begin, check_folder
from negmark.run.terminal import closing_words, one_line_per_job
from negmark.suite.layout import Layout
from negmark.suite.open import open_suite

BOARD_TARGETS = frozenset({"all", "tune"})
"""Targets, besides none, after which there is a board to point at, or the choices of tuning."""


class SuiteRun:
    """A suite, laid out, and the hooks around its run; `workflow` is Snakemake's own object."""

    def __init__(self, workflow: Any, layout: Layout) -> None:
        self.layout = layout
        self._workflow = workflow
        self._damaged = damaged_results(layout) if workflow.is_main_process else []

    @property
    def repaired(self) -> Callable[[Any], list[str]]:
        """An input function without files, for every target: forces damaged results it depends on to be made again.

        Snakemake evaluates it while building the DAG, which must exist by then.
        """

        def forced(wildcards: Any) -> list[str]:
            self._workflow.dag.forcefiles.update(self._damaged)
            return []

        return forced

    def start(self) -> None:
        """Start: alone in this folder, leftovers of killed writers removed, repairs noted, lengths checked."""
        only_when_a_job_ends(self._workflow)
        begin(self._damaged, self.layout.suite)

    def board_without_failures(self) -> None:
        """After an error, make the board once more without the rows that failed, if any did."""
        go_on_without(self.layout.recorded_failures())

    def finish(self) -> None:
        """Print where the board is; nothing is left to repair."""
        note_repairs([])
        targets = {str(target) for target in self._workflow.dag_settings.targets}
        if targets <= BOARD_TARGETS:  # others, as `plan`, print what they have to say themselves
            print(closing_words(self.layout.paths.board, untuned=self.layout.untuned))


def open_run(workflow: Any, config: Mapping[str, Any]) -> SuiteRun:
    """Open the suite of a call of snakemake; a mistake in it or an unwritable folder ends the process."""
    show_any_sign()
    one_line_per_job()
    if workflow.is_main_process:
        check_folder()
    return SuiteRun(workflow, open_suite(config, workflow.configfiles, fetch=not workflow.dryrun))
