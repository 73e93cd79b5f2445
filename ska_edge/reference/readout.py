"""A linear readout of decisions: how much of the class a layer still tells."""

from __future__ import annotations

import numpy as np

from ..fixed import FloatArray, IntArray

FOLDS = 5
_PENALTIES = np.logspace(-6, 4, 11)


def readout_accuracy(features: FloatArray, labels: IntArray, standardise: bool = False) -> float:
    """Accuracy of ridge regression onto the classes, five-fold cross-validated, `features` [n, width].

    Samples take folds in turn within their class.  The penalty is the best of eleven, 1e-6 to 1e4, on the very rows
    tested, which flatters a little.  `standardise` gives every feature mean 0 and spread 1 first, so that differences
    count that are far below what a 16-bit number holds.

    >>> rows = np.random.default_rng(0).normal(size=(40, 3))
    >>> readout_accuracy(rows + 5.0 * (np.arange(40) % 2)[:, np.newaxis], np.arange(40) % 2)
    1.0
    """
    folds = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        folds[members] = np.arange(len(members)) % FOLDS
    right = np.zeros(len(_PENALTIES))
    for fold in range(FOLDS):
        learn, test = folds != fold, folds == fold
        right += _ridge_hits(features[learn], labels[learn], features[test], labels[test], standardise)
    return float(right.max() / len(labels))


def _ridge_hits(x: FloatArray, y: IntArray, x_test: FloatArray, y_test: IntArray, standardise: bool) -> FloatArray:
    """Test rows decided rightly, for every penalty."""
    centre = x.mean(axis=0)
    spread = x.std(axis=0) if standardise else np.ones(x.shape[1])
    spread = np.where(spread > 0.0, spread, 1.0)
    rows = (x - centre) / spread
    values, axes = np.linalg.eigh(rows.T @ rows)
    targets = (y[:, np.newaxis] == np.arange(int(y.max()) + 1)) * 2.0 - 1.0
    offset = targets.mean(axis=0)
    projected, tested = axes.T @ (rows.T @ (targets - offset)), ((x_test - centre) / spread) @ axes
    hits = []
    for penalty in _PENALTIES:
        scores = (tested / (np.maximum(values, 0.0) + penalty)) @ projected + offset
        hits.append(float((scores.argmax(axis=1) == y_test).sum()))
    return np.array(hits)
