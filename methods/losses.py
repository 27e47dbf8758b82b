"""Losses that more than one method uses. Each is a pure function of scores; formulas name their source."""

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from methods.base import Scores


def info_nce(scores: "Scores", temperature: float) -> torch.Tensor:
    r"""Mean softmax cross-entropy of the positive against in-batch and given negatives (a scalar).

    With s = similarity / temperature and weights w (1 if none are given),

        L_i = -log  e^{s_i+} / (e^{s_i+} + sum_{j in batch, allowed} e^{s_ij} + sum_m w_im e^{s_im})

    Without weights this is the loss of DPR (Karpukhin et al. 2020, eq. 2) and of InfoNCE (van den Oord et al.
    2018, eq. 4). Masked places take no part; a query with no negative left has loss 0.
    """
    positive = (scores.positive / temperature).unsqueeze(1)
    in_batch = masked(scores.in_batch / temperature, scores.in_batch_mask)
    given = scores.negatives / temperature
    if scores.weights is not None:
        given = given + scores.weights.log()
    given = masked(given, scores.negatives_mask)
    return (torch.cat([positive, in_batch, given], dim=1).logsumexp(dim=1) - positive.squeeze(1)).mean()


def masked(logits: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Put -inf where `keep` is False: the place adds nothing to a log-sum-exp and has no gradient."""
    return logits.masked_fill(~keep, -torch.inf)
