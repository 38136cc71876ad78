"""`promote`: copies plots of each sampler's newest run to a folder that documents refer to."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from lambda_hat_assets.commands.promote import OUTDIR
from lambda_hat_assets.project.project import Project
from lambda_hat_assets.running.console import QUIET, console
from lambda_hat_core.gallery.members import gallery_of
from lambda_hat_core.gallery.promote import PLOTS, promote


class PromoteConfig(dg.Config):
    """The run config of the job."""

    experiment: str | None = Field(
        None, description="name of a loaded experiment; null: LAMBDA_HAT_EXPERIMENT"
    )
    plots: list[str] = Field(list(PLOTS), description="file names of figures")
    outdir: str = Field(str(OUTDIR), description="folder with one folder per experiment")


def promote_job(project: Project, executor: dg.ExecutorDefinition) -> dg.JobDefinition:
    """Return the job; it copies files and computes nothing."""

    @dg.op
    def copy_plots(context: dg.OpExecutionContext, config: PromoteConfig) -> None:
        """Copy the plots, and write a Markdown snippet that shows them."""
        gallery = gallery_of(project.plan(config.experiment))
        written = promote(project.store, gallery, Path(config.outdir), config.plots)
        context.log.info(f"{len(written) - 1} plots and {written[-1]}")
        snippet = dg.MetadataValue.md(written[-1].read_text())
        context.add_output_metadata(
            {"path": dg.MetadataValue.path(written[-1]), "snippet": snippet}
        )

    @dg.job(
        name="promote",
        logger_defs={"console": console},
        executor_def=executor,
        config=QUIET,
        description="Copy plots of each sampler's newest run to docs/assets/<experiment>.",
    )
    def promoted():
        copy_plots()

    return promoted
