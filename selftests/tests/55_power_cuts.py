# SPDX-License-Identifier: GPL-2.0
"""A few power cuts; scripts/powercut makes a thousand."""

import lab
import powercut


def test_acknowledged_operations_survive(pair):
    done = powercut.cut(pair, 8, seed=2)
    lab.say(f'{done.cuts} cuts, {done.operations} operations acknowledged')
    if done.operations < 100:
        raise lab.Failure(f'only {done.operations} operations')
