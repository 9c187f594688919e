"""The final accuracy that a training is expected to reach, from its network and the epochs run so far.

A Gaussian process (Rasmussen and Williams 2006) for each number of epochs, over the network's choices and sizes and
the last two accuracies of its curve: curves of unlike networks cross, those of like ones do so less. Learning curves
are extrapolated so by Swersky et al. (2014) and Klein et al. (2017). A curve that was ended early has no final
accuracy. The one that was expected of it stands for it, with the variance of that expectation, in the processes of
fewer epochs; the others do not know of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np

from explorer.search.choices import Floats, Scale, Traits
from explorer.search.one_thread import one_thread

REACHES = (0.7, 1.4, 2.8, 5.6)  # length scales over the choices, in typical distances of networks
CURVE_REACHES = (0.7, 1.4, 2.8)  # over the curve, in standard deviations of the final accuracy
NOISES = (0.003, 0.01, 0.03, 0.1)  # variance between seeds over that between networks
MOST = 150  # curves that are learnt from, the latest ones; as many that ran to the end as others
FITTED_ON = 100  # of which at most the scales are chosen
AGAIN = 1.25  # they are chosen anew when there are so many times more


@dataclass(frozen=True)
class Curve:
    """A training that has ended: its network's traits, and the accuracy after each epoch, in %."""

    traits: Traits
    accuracies: tuple[float, ...]


@dataclass(frozen=True)
class Shape:
    """Scales of a process, and the noise."""

    reach: float
    curve_reach: float
    noise: float


@dataclass
class Expectation:
    """What is expected of trainings of so many epochs. It follows from what was learnt and its order alone."""

    epochs: int
    curves: list[Curve] = field(default_factory=list)
    _scale: tuple[Scale, Floats] | None = None  # of the curves as they are now, and their rows
    _processes: dict[int, Process] = field(default_factory=dict)  # likewise, by epochs run
    _shapes: dict[tuple[int, int], Shape] = field(default_factory=dict)  # by epochs run and curves they were chosen on

    def learn(self, curve: Curve) -> None:
        """Takes note of a training that has ended, at its last epoch or earlier."""
        self.curves.append(curve)
        self._scale = None
        self._processes.clear()

    def expect(self, traits: Traits, so_far: tuple[float, ...], share: float) -> tuple[float, float]:
        """(mean, optimistic bound) of the final accuracy in %: a share of the trainings stays below the bound.

        How wide that is follows from the trainings that ran to the end, each predicted from the others: the conformal
        quantile of their errors, in standard deviations (jackknife; Barber et al. 2021), which few of them widen.
        """
        with one_thread():
            scale, _ = self._scaled()
            process = self._process(len(so_far))
            mean, deviation = process.predict(scale.rows([traits]), so_far)
            return mean, mean + process.quantile(share) * deviation

    def _recent(self) -> list[Curve]:
        """The curves that are learnt from."""
        whole = [curve for curve in self.curves if len(curve.accuracies) >= self.epochs]
        others = [curve for curve in self.curves if len(curve.accuracies) < self.epochs]
        return whole[-MOST:] + others[-MOST:]

    def _scaled(self) -> tuple[Scale, Floats]:
        if self._scale is None:
            networks = [curve.traits for curve in self._recent()]
            scale = Scale(networks)
            self._scale = scale, scale.rows(networks)
        return self._scale

    def _process(self, epochs: int) -> Process:
        """The process that knows of curves after so many epochs."""
        if epochs not in self._processes:
            recent, (_, rows) = self._recent(), self._scaled()
            kept, finals, variances = [], [], []
            for place, curve in enumerate(recent):
                run = len(curve.accuracies)
                if run >= self.epochs:
                    final, deviation = curve.accuracies[-1], 0.0
                elif run > epochs:
                    final, deviation = self._process(run).predict(rows[place : place + 1], curve.accuracies)
                else:
                    continue
                kept.append(place)
                finals.append(final)
                variances.append(deviation**2)
            curves = [recent[place].accuracies for place in kept]
            points = Points(epochs, rows[kept], curves, np.array(finals), np.array(variances))
            self._processes[epochs] = Process(points, self._shape(epochs))
        return self._processes[epochs]

    def _shape(self, epochs: int) -> Shape:
        """The scales with the best predictions of trainings left out, chosen on the first ones that ran to the end."""
        whole = [curve for curve in self.curves if len(curve.accuracies) >= self.epochs]
        stage = math.floor(math.log(len(whole), AGAIN))
        first = whole[: min(math.ceil(AGAIN**stage), FITTED_ON)]
        key = (epochs, len(first))
        if key not in self._shapes:
            networks, finals = [curve.traits for curve in first], np.array([curve.accuracies[-1] for curve in first])
            curves = [curve.accuracies for curve in first]
            points = Points(epochs, Scale(networks).rows(networks), curves, finals, np.zeros(len(first)))
            tried = product(REACHES, CURVE_REACHES if epochs else (1.0,), NOISES)
            self._shapes[key] = min((Process(points, Shape(*one)) for one in tried), key=lambda one: one.surprise).shape
        return self._shapes[key]


@dataclass(frozen=True)
class Points:
    """Curves after so many epochs, and what each of them ends at."""

    epochs: int
    choices: Floats  # (curves, traits), on one scale
    curves: list[tuple[float, ...]]
    finals: Floats  # %
    variances: Floats  # of the finals that are only expected; else 0

    @cached_property
    def spread(self) -> float:
        """Standard deviation of the finals, in %."""
        return float(self.finals.std()) or 1.0

    @cached_property
    def ends(self) -> Floats:
        return self.ends_of(self.curves)

    @cached_property
    def own_distances(self) -> tuple[Floats, Floats]:
        return self.distances(self.choices, self.ends)

    def ends_of(self, curves: list[tuple[float, ...]]) -> Floats:
        """(curves, 0 to 2) the last two accuracies of so many epochs, in standard deviations of the final one."""
        last = [curve[max(self.epochs - 2, 0) : self.epochs] for curve in curves]
        return np.array(last, dtype=float).reshape(len(curves), min(self.epochs, 2)) / self.spread

    def distances(self, choices: Floats, ends: Floats) -> tuple[Floats, Floats]:
        """(rows, curves) squared distances to these, of choices and of curves."""
        return _squared(choices, self.choices), _squared(ends, self.ends) / max(ends.shape[1], 1)


class Process:
    """A Gaussian process of the final accuracy."""

    def __init__(self, points: Points, shape: Shape) -> None:
        self.points, self.shape = points, shape
        self.mean = float(points.finals.mean())
        noise = shape.noise + 1e-6 + points.variances / points.spread**2
        self.inverse = np.linalg.inv(self._covariance(*points.own_distances) + np.diag(noise))
        self.weights = self.inverse @ ((points.finals - self.mean) / points.spread)
        # of each training that ran to the end, predicted from the others (Sundararajan and Keerthi 2001)
        whole = points.variances == 0
        left_out = 1 / np.diag(self.inverse)[whole]
        errors = self.weights[whole] * left_out
        self.variance = max(float((errors**2 / left_out).mean()), 1e-9)
        self.surprise = float(np.log(self.variance * left_out).mean())
        self.errors = np.sort(errors / np.sqrt(self.variance * left_out))  # in standard deviations

    def predict(self, choices: Floats, curve: tuple[float, ...]) -> tuple[float, float]:
        """(mean, standard deviation) of a training's final accuracy, in %; choices are one row."""
        points = self.points
        cross = self._covariance(*points.distances(choices, points.ends_of([curve])))[0]
        variance = self.variance * max(1 + self.shape.noise - float(cross @ self.inverse @ cross), 1e-9)
        return self.mean + points.spread * float(cross @ self.weights), points.spread * math.sqrt(variance)

    def quantile(self, share: float) -> float:
        """How many standard deviations above its expectation a training ends at most; never below it."""
        rank = math.ceil(share * (len(self.errors) + 1))
        return max(float(self.errors[min(rank, len(self.errors)) - 1]), 0.0)

    def _covariance(self, choices: Floats, ends: Floats) -> Floats:
        """Covariances at squared distances, relative to a network's own variance."""
        far = choices / self.shape.reach**2 + ends / self.shape.curve_reach**2
        found: Floats = np.exp(-far / 2)
        return found


def _squared(one: Floats, other: Floats) -> Floats:
    """(rows of one, rows of the other) squared distances."""
    products = one @ other.T
    found: Floats = np.maximum((one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * products, 0)
    return found
