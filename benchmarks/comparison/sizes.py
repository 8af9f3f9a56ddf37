"""What is measured, and how much of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StepCase:
    """A training step: config below configs/, size of MiT, and the side of a crop."""

    config: str
    backbone: str
    side: int


DAFORMER = "daformer/gta2cs_uda_warm_fdthings_rcs_croppl_a999_daformer_mitb5_s0"
STEPS = {
    "DAFormer B0 256": StepCase(DAFORMER, "b0", 256),
    "DAFormer B0 512": StepCase(DAFORMER, "b0", 512),
    "DAFormer B5 256": StepCase(DAFORMER, "b5", 256),
    "CDDA(DAFormer) B0 256": StepCase("cdda/gta2cs_cdda_daformer", "b0", 256),
    "CDDA(HRDA) B0 256": StepCase("cdda/gtaHR2csHR_cdda_hrda", "b0", 256),
    "CDDA(MIC) B0 256": StepCase("cdda/gtaHR2csHR_cdda_mic", "b0", 256),
}
LOADING = {
    "loading DAFormer": "cdda/gta2cs_cdda_daformer",
    "loading HRDA": "cdda/gtaHR2csHR_cdda_hrda",
}
METRIC, CROPS = "metric", "run_seg"
NAMES = (*STEPS, METRIC, *LOADING, CROPS)
UNITS = {METRIC: "ms", **dict.fromkeys(LOADING, "ms per sample"), CROPS: "ms per crop"}


@dataclass(frozen=True)
class Amount:
    """How much is measured; `tiny` shrinks every size, to try the program."""

    data: str  # folder with the drawn scenes
    tiny: bool = False

    def side(self, case: StepCase) -> int:
        """Return the side of a crop, a multiple of 64."""
        return 64 if self.tiny else case.side

    def backbone(self, case: StepCase) -> str:
        """Return the size of MiT."""
        return "b0" if self.tiny else case.backbone

    @property
    def crops(self) -> int:
        """Source crops in the bank of the metric."""
        return 60 if self.tiny else 24_966

    @property
    def samples(self) -> int:
        """How many samples or crops one measurement makes."""
        return 1 if self.tiny else 4
