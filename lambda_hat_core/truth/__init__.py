"""Known answers: exact coefficients, and exact expectations at finite temperature."""

from lambda_hat_core.truth import coefficients, oracles, quadrature
from lambda_hat_core.truth.coefficients import Coefficient

__all__ = ["Coefficient", "coefficients", "oracles", "quadrature"]
