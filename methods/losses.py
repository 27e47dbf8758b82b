"""Losses that more than one method uses. Each is a pure function of scores; formulas name their source."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from negmark.methods.later import functional, torch

if TYPE_CHECKING:
    from negmark.methods.types import Scores


def info_nce(scores: Scores, temperature: float) -> torch.Tensor:
    r"""Mean softmax cross-entropy of the positive against in-batch and given negatives (a scalar).

    With s = similarity / temperature and weights w (1 if none are given),

        L_i = -log  e^{s_i+} / (e^{s_i+} + sum_{j in batch, allowed} w_ij e^{s_ij} + sum_m w_im e^{s_im})

    Without weights this is the loss of DPR (Karpukhin et al. 2020, eq. 2) and of InfoNCE (van den Oord et al.
    2018, eq. 4). Masked places take no part; a query with no negative left has loss 0.
    """
    return info_nce_rows(scores, temperature).mean()


def info_nce_rows(scores: Scores, temperature: float) -> torch.Tensor:
    """Return the loss of each query [B], whose mean is `info_nce`; e to minus it is the positive's probability."""
    positive = (scores.positive / temperature).unsqueeze(1)
    logits = torch.cat([positive, *negative_logits(scores, temperature)], dim=1)
    return logits.logsumexp(dim=1) - positive.squeeze(1)


def negative_logits(scores: Scores, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return s + log w of in-batch documents [B, B] and given negatives [B, M + V], -inf in masked places."""
    in_batch, given = scores.in_batch / temperature, scores.negatives / temperature
    if scores.in_batch_weights is not None:
        in_batch = in_batch + scores.in_batch_weights.log()
    if scores.weights is not None:
        given = given + scores.weights.log()
    return masked(in_batch, scores.in_batch_mask), masked(given, scores.negatives_mask)


def with_more(scores: Scores, more: torch.Tensor, mask: torch.Tensor) -> Scores:
    """Return scores with more negatives behind the given ones, [B, N] each of weight 1, and which of them count."""
    weights = scores.weights
    if weights is not None:
        weights = torch.cat([weights, torch.ones_like(more).detach()], dim=1)
    return replace(
        scores,
        negatives=torch.cat([scores.negatives, more], dim=1),
        negatives_mask=torch.cat([scores.negatives_mask, mask], dim=1),
        weights=weights,
    )


def from_documents(scores: Scores) -> Scores:
    """Return the scores of a batch seen from its documents: row j is document j against the queries.

    Query i is a negative of document j where document j is one of query i, with the same weight. Given negatives, which
    are a query's own, have no place.
    """
    weights = scores.in_batch_weights
    return replace(
        scores,
        in_batch=scores.in_batch.T,
        in_batch_mask=scores.in_batch_mask.T,
        in_batch_weights=None if weights is None else weights.T,
        negatives=scores.negatives[:, :0],
        negatives_mask=scores.negatives_mask[:, :0],
        weights=None,
    )


def masked(logits: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Put -inf where `keep` is False: the place adds nothing to a log-sum-exp and has no gradient."""
    return logits.masked_fill(~keep, -torch.inf)


def coupled_weights(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return 1 / (1 - sigmoid(s / T)) = 1 + e^{s/T}, without gradient: CET's weights (released code, train.py).

    s is the *other* model's score of a negative; a weight is 2 where s is 0, and tends to 2 everywhere as T grows.
    """
    return 1 + (logits.detach() / temperature).exp()


def pairwise_softplus(
    positive: torch.Tensor, negatives: torch.Tensor, weights: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Mean over the pairs in use of w softplus(s- - s+): weighted cross-entropy of two, as CET trains (a scalar).

    Takes logits [B] and [B, M], weights [B, M] and a bool mask [B, M].
    """
    each = weights * functional.softplus(negatives - positive[:, None])
    return each[mask].sum() / mask.sum().clamp(min=1)


def cross_batch_balanced(scores: Scores, temperature: float) -> torch.Tensor:
    """Softmax cross-entropy of the positive against the given negatives alone, no in-batch ones (a scalar).

    The retrieval half of Conan-embedding's eq. 3 (Li et al. 2024): the N n negatives that N devices hold for the
    same query are in one denominator; here one process holds them all.
    """
    return info_nce(replace(scores, in_batch_mask=torch.zeros_like(scores.in_batch_mask)), temperature)


def cosent(cosines: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return log(1 + sum over pairs i, j with label i > label j of e^{(cos_j - cos_i) / T}): a scalar.

    CoSENT as Conan-embedding (Li et al. 2024) writes it. Takes cosines [P] and labels [P] of P pairs of texts.
    """
    gaps = (cosines[None, :] - cosines[:, None]) / temperature
    inversions = masked(gaps, labels[:, None] > labels[None, :]).flatten()
    return torch.cat([inversions.new_zeros(1), inversions]).logsumexp(dim=0)


def bidirectional_margin(gaps: torch.Tensor, alpha: float, beta: float) -> torch.Tensor:
    """Return relu(x + alpha) + relu(-x - beta) for each x: nothing where -beta <= x <= -alpha.

    BML of SNCSE (Wang et al. 2022) as ClusterNS uses it: x is a suspected false negative's cosine less the
    positive's.
    """
    return (gaps + alpha).relu() + (-gaps - beta).relu()


def star_pairwise(
    positive: torch.Tensor,
    in_batch: torch.Tensor,
    in_batch_mask: torch.Tensor,
    hard: torch.Tensor,
    hard_mask: torch.Tensor,
    alpha: float | None = None,
) -> torch.Tensor:
    """STAR's loss (Zhan et al. 2021): softplus(s- - s+) over positives and hard documents of the whole batch.

    Takes logits [B], [B, B] and [B, H] and which of them count. With `alpha` None it is one average over all
    pairs, as the released code (DRhard) computes it; else alpha * mean(in-batch) + mean(hard), from memory.
    """
    if alpha is None:
        others, mask = torch.cat([in_batch, hard], dim=1), torch.cat([in_batch_mask, hard_mask], dim=1)
        return pairwise_softplus(positive, others, torch.ones_like(others), mask)
    random = pairwise_softplus(positive, in_batch, torch.ones_like(in_batch), in_batch_mask)
    return alpha * random + pairwise_softplus(positive, hard, torch.ones_like(hard), hard_mask)


def adore_lambda(
    scores: torch.Tensor, relevant: torch.Tensor, used: torch.Tensor, cut: int | None = None
) -> torch.Tensor:
    r"""ADORE's loss (Zhan et al. 2021), as DRhard computes it, over one ranked list per query (a scalar).

    Column r - 1 of the logits [B, K] holds rank r, whose gain is 1/r, or 0 behind `cut`. For a query,

        L = 1 / #pairs * sum_{a relevant, b not} |gain(r_a) - gain(r_b)| softplus(y_b - y_a)

    and queries are averaged; one without a pair has loss 0. Places where `used` is False take no part.
    """
    ranks = torch.arange(1, scores.shape[1] + 1)
    gains = 1 / ranks
    if cut is not None:
        gains = gains * (ranks <= cut)
    relevant = relevant & used
    width = int(relevant.sum(dim=1).max())  # only relevant rows of the K x K pairs are made
    columns = relevant.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :width]
    pairs = relevant.gather(1, columns).unsqueeze(2) & (used & ~relevant).unsqueeze(1)
    weights = (gains[columns].unsqueeze(2) - gains).abs()
    gaps = scores.unsqueeze(1) - scores.gather(1, columns).unsqueeze(2)
    sums = (weights * functional.softplus(masked(gaps, pairs))).sum(dim=(1, 2))
    return (sums / pairs.sum(dim=(1, 2)).clamp(min=1)).mean()


def margin_mse(
    positive: torch.Tensor,
    negatives: torch.Tensor,
    taught_positive: torch.Tensor,
    taught: torch.Tensor,
    mask: torch.Tensor,
) -> torch.Tensor:
    """Mean over the pairs in use of ((s+ - s-) - (t+ - t-))^2: Margin-MSE (Hofstaetter et al. 2020; a scalar).

    Takes the student's scores [B] and [B, M], the teacher's of the same shapes, and which negatives count.
    """
    aim = taught_positive[:, None] - taught.masked_fill(~mask, 0.0)
    gaps = (positive[:, None] - negatives) - aim
    return gaps.masked_fill(~mask, 0.0).square().sum() / mask.sum().clamp(min=1)


def lambda_mrr(scores: torch.Tensor, labels: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
    r"""CL-DRD's loss (Zeng et al. 2022), as the released `lambda_mrr_loss` computes it (a scalar).

    With the logits s [B, K] of lists, their labels y and ranks r by s, over all pairs of the batch with y_i > y_j,

        L = mean |1/r_i - 1/r_j| softplus(s_j - s_i)

    Places where `used` is False take no part; without a pair it is 0.
    """
    ranks = masked(scores.detach(), used).argsort(dim=1, descending=True, stable=True).argsort(dim=1) + 1
    gains = 1 / ranks
    pairs = used[:, :, None] & used[:, None, :] & (labels[:, :, None] > labels[:, None, :])
    weights = (gains[:, :, None] - gains[:, None, :]).abs()
    values = weights * functional.softplus(scores[:, None, :] - scores[:, :, None])
    return values.masked_fill(~pairs, 0.0).sum() / pairs.sum().clamp(min=1)


def kl_from_teacher(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over rows of KL(softmax(teacher) || softmax(student)) of logits [B, K]: AR2's and SimANS's loss.

    Masked places take no part; each row must keep one.
    """
    own = masked(student, mask).log_softmax(dim=1)
    aim = masked(teacher, mask).log_softmax(dim=1)
    return (aim.exp() * (aim - own).masked_fill(~mask, 0.0)).sum(dim=1).mean()


def debiased_info_nce(
    scores: Scores, temperature: float, tau_plus: float, beta: float = 0.0, detach: bool = False
) -> torch.Tensor:
    r"""Mean loss over in-batch documents with a debiased, and for beta > 0 reweighted, denominator (a scalar).

    With s = similarity / temperature, N allowed in-batch documents and R of `log_reweighted_sum`,

        Ng_i = max((R_i - tau+ N e^{s_i+}) / (1 - tau+), N e^{-1/temperature}),  L_i = log(1 + Ng_i / e^{s_i+})

    This is debiased contrastive learning (Chuang et al. 2020; beta = 0) and HCL (Robinson et al. 2021), as the
    authors' code computes them. All exponentials are relative to the row's largest term, so none overflows.
    Given negatives take no part; a query without an allowed document has loss 0.
    """
    positive = scores.positive / temperature
    count = scores.in_batch_mask.sum(dim=1)
    some = count > 0
    keep = scores.in_batch_mask | ~some[:, None]  # a row without any is not used, but must not become NaN
    log_sum = log_reweighted_sum(scores.in_batch / temperature, keep, beta, detach)
    largest = torch.maximum(log_sum, positive).detach()
    pull = (positive - largest).exp()
    corrected = ((log_sum - largest).exp() - tau_plus * count * pull) / (1 - tau_plus)
    floor = count * (-1 / temperature - largest).exp()
    rows = (pull + torch.maximum(corrected, floor)).log() + largest - positive
    return torch.where(some, rows, torch.zeros_like(rows)).mean()


def log_reweighted_sum(
    logits: torch.Tensor, keep: torch.Tensor, beta: float, detach: bool = False
) -> torch.Tensor:
    """Return log R [B], R = sum_j w_j e^{l_j} with w_j = e^{beta l_j} of mean 1 over the kept places of a row.

    HCL's importance weights (Robinson et al. 2021); with beta = 0 all are 1. Every row must keep a place.
    `detach` keeps the gradient out of the weights.
    """
    count = keep.sum(dim=1, keepdim=True).to(logits.dtype)
    hardness = masked(beta * logits, keep)
    log_weights = hardness - hardness.logsumexp(dim=1, keepdim=True) + count.log()
    if detach:
        log_weights = log_weights.detach()
    return masked(logits + log_weights, keep).logsumexp(dim=1)


def decoupled_info_nce(
    scores: Scores, temperature: float, positive_weights: torch.Tensor | None = None
) -> torch.Tensor:
    r"""Mean of InfoNCE without the positive in its denominator (a scalar, which may be negative).

    With s = similarity / temperature, weights v of positives [B] and w of negatives (1 if none are given),

        L_i = -v_i s_i+ + log( sum_{j in batch, allowed} w_ij e^{s_ij} + sum_m w_im e^{s_im} )

    Decoupled contrastive learning (Yeh et al. 2022); with v of `decoupled_weights` its DCLW. A query with no negative
    left has loss 0.
    """
    positive = scores.positive / temperature
    negatives = torch.cat(negative_logits(scores, temperature), dim=1)
    some = ~negatives.isneginf().all(dim=1)
    negatives = negatives.where(some[:, None], 0.0)  # a row without any is not used, but must not become NaN
    pull = positive if positive_weights is None else positive_weights * positive
    rows = negatives.logsumexp(dim=1) - pull
    return torch.where(some, rows, 0.0).mean()


def decoupled_weights(positive: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return DCLW's weights [B] of positives: 2 - e^{s/sigma} / mean e^{s/sigma} of cosines s [B], of mean 1.

    A positive much easier than its batch may weigh less than 0. The gradient flows through the weights, as in the
    implementation that was read.
    """
    return 2 - len(positive) * (positive / sigma).softmax(dim=0)


def asymmetric_positive(logits: torch.Tensor, gamma: float, detach: bool) -> torch.Tensor:
    """Return ASL's loss of relevant pairs, -(1 - p)^gamma log p with p = sigmoid(logit), of any shape.

    Asymmetric loss (Ben-Baruch et al. 2021). With `detach` the focus (1 - p)^gamma is a constant in the gradient.
    """
    focus = (-logits).sigmoid().clamp(min=1e-8) ** gamma  # the root of 0 would have an infinite gradient
    return -(focus.detach() if detach else focus) * functional.logsigmoid(logits)


def asymmetric_negative(logits: torch.Tensor, gamma: float, clip: float, detach: bool) -> torch.Tensor:
    """Return ASL's loss of other pairs, -p_m^gamma log(1 - p_m) with p_m = max(p - clip, 0), of any shape.

    A pair below `clip` has neither loss nor gradient. 1 - p_m is clamped at 1e-8, as in the released code.
    """
    shifted = (logits.sigmoid() - clip).clamp(min=0)
    focus = torch.where(shifted > 0, shifted.clamp(min=1e-8) ** gamma, 0.0)
    return -(focus.detach() if detach else focus) * (1 - shifted).clamp(min=1e-8).log()


def self_adversarial(scores: torch.Tensor, mask: torch.Tensor, alpha: float) -> torch.Tensor:
    """Return sum_j w_j softplus(s_j) [B] with w = softmax(alpha s), detached, over the places [B, M] in use.

    The negative half of RotatE's log-sigmoid loss (Sun et al. 2019), alpha = 0 is a mean. A row without any has 0.
    """
    some = mask.any(dim=1, keepdim=True)
    weights = masked(alpha * scores.detach(), mask | ~some).softmax(dim=1)
    return (weights * functional.softplus(scores) * mask).sum(dim=1)


def focal(rows: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return mean (1 - p)^gamma L of the losses L = -log p of queries [B], the weights without gradient (a scalar).

    The weight of focal loss (Lin et al. 2017) on whole queries, as KaLM-Embedding-V2 (2025) has it.
    """
    return ((-(-rows.detach()).expm1()).pow(gamma) * rows).mean()


def second_moment(vectors: torch.Tensor) -> torch.Tensor:
    """Return the mean squared cosine of pairs of different rows of unit vectors [B, D], 0 of a single row (a scalar).

    One sum of eq. 4 of EmbeddingGemma (Schechter Vera et al. 2025); 1 / D for vectors drawn uniformly from the sphere.
    """
    return _between(vectors).square().sum() / _pairs(vectors)


def first_moment(vectors: torch.Tensor) -> torch.Tensor:
    """Return the mean cosine of the same pairs (a scalar): 0 for vectors drawn uniformly from the sphere."""
    return _between(vectors).sum() / _pairs(vectors)


def _between(vectors: torch.Tensor) -> torch.Tensor:
    """Return cosines [B, B] of rows, 0 on the diagonal."""
    return (vectors @ vectors.T).masked_fill(torch.eye(len(vectors), dtype=torch.bool), 0.0)


def _pairs(vectors: torch.Tensor) -> int:
    return max(len(vectors) * (len(vectors) - 1), 1)
