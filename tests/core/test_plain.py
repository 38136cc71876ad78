"""Trees of arrays are restored exactly from JSON and arrays; other objects are rejected."""

import json

import numpy as np
import pytest

from lambda_hat_core.config.samplers.stochastic import Sgld


class Known:
    pass


def test_a_set_up_is_restored_bit_for_bit(x64):
    import jax.numpy as jnp
    import jax.random as jr

    from lambda_hat_core.samplers.coordinates import Coordinates
    from lambda_hat_core.samplers.pilot import Pilot
    from lambda_hat_core.store.plain import from_plain, to_plain

    posterior = Known()
    third = jnp.asarray([1 / 3, -0.0], jnp.float32)
    module = Coordinates(third, third, third[None], third[:1], third[:1])
    value = {
        "pilot": Pilot(third[None], Known(), None, 0.1 + 0.2),
        "module": module,
        "spec": Sgld(n_draws=700),
        "rest": (None, True, "x", [np.arange(3)], jr.key(5)),
    }
    structure, arrays = to_plain(value, {"posterior": posterior})
    found = from_plain(json.loads(json.dumps(structure)), arrays, {"posterior": posterior})
    assert found["pilot"].spectrum is posterior and found["pilot"].work == 0.1 + 0.2
    assert found["spec"] == value["spec"] and found["rest"][:3] == value["rest"][:3]
    assert isinstance(found["module"], Coordinates)
    for name in ("origin", "vectors", "inverse_extra"):
        one, other = getattr(found["module"], name), getattr(module, name)
        assert one.dtype == other.dtype and one.tobytes() == other.tobytes()
    np.testing.assert_array_equal(found["rest"][3][0], np.arange(3))
    assert jr.key_data(found["rest"][4]).tolist() == jr.key_data(jr.key(5)).tolist()


def test_classes_of_other_packages_are_neither_stored_nor_restored():
    from lambda_hat_core.store.plain import from_plain, to_plain

    with pytest.raises(TypeError, match="a set cannot be stored"):
        to_plain({1}, {})
    for name in ("os:system", "subprocess:Popen", "lambda_hat_core_evil:X"):
        with pytest.raises(ValueError, match="not a class of lambda_hat_core"):
            from_plain({"named": {}, "class": name}, {}, {})
    with pytest.raises(ValueError, match="other fields"):
        from_plain({"module": {}, "class": "lambda_hat_core.posterior:Posterior"}, {}, {})
