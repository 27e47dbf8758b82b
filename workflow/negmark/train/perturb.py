"""Texts encoded again after their tokens were moved along gradients: adversarial perturbations of any objective.

As in the fast gradient method (Miyato et al. 2017, arXiv 1605.07725), but normalised for each token, as CLAPS does.
"""

from collections.abc import Sequence

import torch

from negmark.methods.types import Move
from negmark.train.tiers.protocol import Rows, TrainedEncoder

SMALLEST = 1e-12
"""Added to the length of a gradient, so that a token without one stays where it is."""


def perturbed(encoder: TrainedEncoder, side: str, rows: Rows, moves: Sequence[Move]) -> torch.Tensor:
    """Return vectors [R, D] of texts whose tokens have made the moves, with gradient to what is trained.

    The gradients that moves follow are taken by the parameters as they are now, and reach none of them.
    """
    tokens = encoder.token_vectors(side, rows)
    unit = torch.linalg.vector_norm(tokens, dim=1).mean() if len(tokens) else tokens.new_ones(())
    shift = torch.zeros_like(tokens)
    for move in moves:
        shift.requires_grad_()
        rising = _gradient(move, encoder.from_tokens(side, rows, shift, still=True), shift)
        steps = rising / (torch.linalg.vector_norm(rising, dim=1, keepdim=True) + SMALLEST)
        shift = shift.detach() + move.size * unit * steps
    return encoder.from_tokens(side, rows, shift, still=False)


def _gradient(move: Move, vectors: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        scalar = move.objective(vectors)
    if not scalar.requires_grad:  # an objective that the texts have no part in
        return torch.zeros_like(shift)
    return torch.autograd.grad(scalar, shift)[0]
