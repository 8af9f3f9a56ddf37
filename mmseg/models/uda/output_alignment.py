"""What MinEnt and AdvSeg share: make the network's outputs on the target like those on the source.

Legend: B images, C classes, H×W pixels of an image, h×w cells of an output.
"""

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from mmseg.models.layers import at_least_single
from mmseg.models.segmentors.training_parts import output_names
from mmseg.models.uda.base import Step, StepOutput, TrainingMethod, UDABatch, build_twin
from mmseg.models.uda.draws import Draws
from mmseg.models.uda.margins import trusted_pixels
from mmseg.models.uda.masking import MaskedConsistency
from mmseg.models.uda.passes import StudentPasses
from mmseg.models.uda.settings import OutputWeights, SelfTrainingSettings

Outputs = dict[str, Tensor]  # of `main` and `aux`, (B, C, h, w)


class OutputAlignment(TrainingMethod):
    """Train on the labeled source, and on an unsupervised loss of the outputs on the target.

    `model` is the student (trained and evaluated). The outputs are those of the decode head,
    `main`, and of the auxiliary head, `aux`, if there is one. `mic` may hold a teacher, which
    labels masked images; there is no other one. The keys of its config are those of
    `settings_class`.
    """

    settings_class: ClassVar[type[SelfTrainingSettings]]
    compares_source: ClassVar[bool] = False  # whether the loss needs the outputs on the source, too

    def __init__(
        self, model: Mapping[str, Any], max_iters: int | None = None, **settings: Any
    ) -> None:
        super().__init__(model, max_iters)
        self.settings: Any = self.settings_class(**settings)
        self.outputs = output_names(self.model)
        self.mic: MaskedConsistency | None = None
        if self.settings.mask_mode is not None:
            make_twin = partial(build_twin, model)
            self.mic = MaskedConsistency(self.settings, make_twin, has_own_teacher=True)

    @classmethod
    def reads_depth(cls, section: Mapping[str, Any]) -> bool:
        """Return False."""
        return False

    @abstractmethod
    def align(self, step: Step, target: Outputs) -> dict[str, Tensor]:
        """Return the losses that the student is trained on, of its logits on the target."""

    def train_others(self, step: Step, source: Outputs, target: Outputs) -> None:
        """Train networks other than the student on its logits, which carry no gradient."""

    def describe(self) -> list[str]:
        """Tell which method runs."""
        name, network = type(self).__name__, type(self.model).__name__
        base = f"MIC on {name}" if self.mic is not None else name
        lines = [f"Method: {base} of {network}, without depth, outputs: {', '.join(self.outputs)}"]
        return [*lines, *(self.mic.describe() if self.mic is not None else [])]

    def accumulate_gradients(
        self, batch: Mapping[str, Any], iteration: int, draws: Draws
    ) -> StepOutput:
        """Add the gradients of one iteration to the student's."""
        torch.manual_seed(draws.torch_seed())  # dropout and stochastic depth
        data = UDABatch.from_loader(batch)
        step = Step(data, iteration, draws, self.start_output(iteration))
        if self.mic is not None:
            self.mic.update_teacher(self.model, iteration)
        source = self._train_on_source(step)
        target = self._train_on_target(step)
        if self.mic is not None:
            s = self.settings
            margins = (s.pseudo_weight_ignore_top, s.pseudo_weight_ignore_bottom)
            pseudo = self.mic.relabel(step, None, trusted_pixels(data, *margins))
            self.mic.train_on(StudentPasses(self.model, step), pseudo)
        self.train_others(step, source, target)
        return step.output

    def _train_on_source(self, step: Step) -> Outputs:
        """Train with cross-entropy, and return the logits if they are needed."""
        data, output = step.data, step.output
        options = {"return_logits": self.compares_source or output.pictures is not None}
        losses = self.model.forward_train(
            data.image, data.metas, data.label, draws=step.draws, **options
        )
        logits = self._outputs(losses, data.image) if self.compares_source else {}
        output.show(img_norm_cfg=data.metas[0].get("img_norm_cfg") if data.metas else None)
        output.show(source_image=data.image, source_label=data.label[:, 0])
        output.show_prediction(losses, "source")
        output.backward(losses)
        return {name: value.detach() for name, value in logits.items()}

    def _train_on_target(self, step: Step) -> Outputs:
        """Train on the method's own loss, and return the logits."""
        data = step.data
        outputs = self.model.train_outputs(data.target_image, data.target_metas, draws=step.draws)
        logits = self._outputs(outputs, data.target_image)
        step.output.show(target_image=data.target_image, target_prediction=logits["main"].argmax(1))
        step.output.backward(self.align(step, logits))
        return {name: value.detach() for name, value in logits.items()}

    def _outputs(self, values: Mapping[str, Any], image: Tensor) -> Outputs:
        """Return the logits among what a network returned, at the size that is compared."""
        return {
            name: at_least_single(self.model.at_output_size(values[f"{head}.logits"], image))
            for name, head in self.outputs.items()
        }

    def weights(self, keys: Mapping[str, float]) -> dict[str, float]:
        """Return the weight of each output's loss."""
        known = OutputWeights(**keys)
        return {name: getattr(known, name) for name in self.outputs}
